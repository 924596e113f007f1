"""``trackmllib run``: arguments, environment, signals and terminal of the command it runs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from support.commands import TRACKMLLIB, environ, trackmllib_command
from trackmllib.cli.run import STARTUP_FOLDER

JOB = """
import json, os, sys
printed = {name: os.environ.get(name) for name in ("TRACKMLLIB_AUTOLOG", "PYTHONPATH")}
printed.update(
    arguments=sys.argv,
    watched="trackmllib.integrations.process_startup" in sys.modules,
    pid=os.getpid(),
    line=input(),
)
print(json.dumps(printed))
raise SystemExit(3)
"""


@pytest.fixture
def job(tmp_path):
    """The script ``job.py`` in the current folder, and the same code as a package."""
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__main__.py").write_text(JOB)
    return "job.py"


def run_job(*arguments: str, **variables: str) -> dict:
    """JSON that the job prints, run with ``hello`` on its standard input."""
    done = trackmllib_command("run", *arguments, env=environ(**variables), input="hello\n")
    assert (done.returncode, done.stderr) == (3, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        (["job.py", "a", "--b"], ["job.py", "a", "--b"]),
        (["job.py", "--help", "--", "-m"], ["job.py", "--help", "--", "-m"]),
        (
            ["-m", "package", "--help", "--", "x"],
            ["{here}/package/__main__.py", "--help", "--", "x"],
        ),
        (["-mpackage", "-h"], ["{here}/package/__main__.py", "-h"]),
        (["--", sys.executable, "job.py", "--", "-x"], ["job.py", "--", "-x"]),
        ([sys.executable, "job.py", "--version"], ["job.py", "--version"]),
    ],
)
def test_arguments_input_and_exit_status_pass_through(job, tmp_path, given, arguments):
    printed = run_job(*given)
    assert printed["arguments"] == [argument.format(here=tmp_path) for argument in arguments]
    assert printed["line"] == "hello"
    assert printed["watched"]
    assert printed["TRACKMLLIB_AUTOLOG"] == "1"


def test_python_runs_scripts_that_are_not_executable(job, tmp_path):
    (tmp_path / "script").write_text(JOB)
    assert run_job("./script")["arguments"] == ["./script"]
    (tmp_path / "script").write_text("#!/bin/sh\nexit 5\n")
    (tmp_path / "script").chmod(0o755)
    assert trackmllib_command("run", "./script").returncode == 5


def test_pythonpath_of_user_follows_startup_folder(job, tmp_path):
    before = os.environ.get("PYTHONPATH", "")
    more = os.pathsep + before if before else ""
    assert run_job("job.py")["PYTHONPATH"] == STARTUP_FOLDER + more
    there = f"{STARTUP_FOLDER}{os.pathsep}{tmp_path}{more}"
    assert run_job("job.py", PYTHONPATH=f"{tmp_path}{more}")["PYTHONPATH"] == there
    assert run_job("job.py", PYTHONPATH=there)["PYTHONPATH"] == there


def test_run_overrides_disabled_autolog_variable(job):
    assert run_job("job.py", TRACKMLLIB_AUTOLOG="0")["TRACKMLLIB_AUTOLOG"] == "1"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "Missing command to run."),
        (["--"], "Missing command to run."),
        (["-m"], "Option '-m' requires a module."),
        (["--rows", "job.py"], "No such option: --rows."),
    ],
)
def test_wrong_command_line_prints_usage(given, sentence):
    done = trackmllib_command("run", *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: trackmllib run [-m MODULE | SCRIPT.py | -- COMMAND] [ARGS]..." in done.stderr
    assert sentence in done.stderr


def test_leading_help_option_prints_help():
    done = trackmllib_command("run", "--help")
    assert done.returncode == 0
    assert "trackmllib run -- spark-submit job.py" in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", ["no-such-command", "./no-such-command", "no_such_job.py"])
@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_missing_command_exits_127(name, dashes):
    done = trackmllib_command("run", *dashes, name)
    assert (done.returncode, done.stdout) == (127, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"trackmllib: {name}: no such ")


def test_command_that_cannot_be_executed_exits_126(job, tmp_path):
    (tmp_path / "lost").write_text("#!/no/such/interpreter\n")
    (tmp_path / "text").write_text("hello\n")
    for name in ("lost", "text"):
        (tmp_path / name).chmod(0o755)
    for name, why in {
        "./job.py": "To run it with Python: trackmllib run ./job.py",
        "./package": "is a directory",
        "./lost": "the interpreter in its first line does not exist",
        "./text": "Exec format error",
    }.items():
        done = trackmllib_command("run", "--", name)
        assert done.returncode == 126
        assert name in done.stderr
        assert why in done.stderr


def test_command_replaces_process_and_gets_its_signals(tmp_path):
    for number in (signal.SIGTERM, signal.SIGINT):
        (tmp_path / "job.py").write_text(
            "import os, signal, sys, time\n"
            "signal.signal(int(sys.argv[1]), lambda number, _: os._exit(40 + number))\n"
            "print(os.getpid(), flush=True)\n"
            "time.sleep(100)\n"
        )
        process = subprocess.Popen(
            [*TRACKMLLIB, "run", "job.py", str(int(number))],
            env=environ(),
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert int(process.stdout.readline()) == process.pid
            process.send_signal(number)
            assert process.wait(60) == 40 + number


def test_command_does_not_inherit_ignored_signals():
    for name in ("PIPE", "XFSZ"):
        done = trackmllib_command("run", "--", "sh", "-c", f"kill -{name} $$")
        assert done.returncode == -signal.Signals[f"SIG{name}"]


def test_command_has_terminal(tmp_path):
    (tmp_path / "job.py").write_text(
        "import os, sys\nprint([os.isatty(number) for number in range(3)], input())\n"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*TRACKMLLIB, "run", "job.py"],
        env=environ(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, b"typed\n")
    printed = b""
    while b"]" not in printed or b"\n" not in printed.partition(b"]")[2]:
        printed += os.read(ours, 1000)
    assert process.wait(60) == 0
    os.close(ours)
    assert b"[True, True, True] typed" in printed


def test_child_processes_of_command_record_too(tmp_path):
    (tmp_path / "job.py").write_text(
        "import subprocess, sys\n"
        "child = \"import sys; print('trackmllib.integrations.process_startup' in sys.modules)\"\n"
        "print(subprocess.check_output([sys.executable, '-c', child], text=True), end='')\n"
    )
    done = trackmllib_command("run", "job.py")
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_wheel_contains_startup_folder(tmp_path):
    root = Path(__file__).parents[3]
    (wheel,) = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    held = [name for name in zipfile.ZipFile(wheel).namelist() if "/pythonpath/" in name]
    assert held == ["trackmllib/integrations/pythonpath/sitecustomize.py"]
