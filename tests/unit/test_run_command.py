"""``trackmllib run`` hands on what it was given, and becomes the command."""

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

from commands import TRACKMLLIB, environ, trackmllib_command
from trackmllib.cli.run import STARTUP_FOLDER

JOB = """
import json, os, sys
said = {name: os.environ.get(name) for name in ("TRACKMLLIB_AUTOLOG", "PYTHONPATH")}
said.update(
    arguments=sys.argv, watched="trackmllib.startup" in sys.modules, pid=os.getpid(), line=input()
)
print(json.dumps(said))
raise SystemExit(3)
"""


@pytest.fixture
def job(tmp_path):
    """job.py in the current folder, and the same as a package."""
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__main__.py").write_text(JOB)
    return "job.py"


def told(*arguments: str, **variables: str) -> dict:
    """What the job says that is run like this, with ``hello`` on its standard input."""
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
    said = told(*given)
    assert said["arguments"] == [argument.format(here=tmp_path) for argument in arguments]
    assert said["line"] == "hello"
    assert said["watched"]
    assert said["TRACKMLLIB_AUTOLOG"] == "1"


def test_a_script_without_an_ending_is_run_by_python_and_a_program_by_itself(job, tmp_path):
    (tmp_path / "script").write_text(JOB)
    assert told("./script")["arguments"] == ["./script"]
    (tmp_path / "script").write_text("#!/bin/sh\nexit 5\n")
    (tmp_path / "script").chmod(0o755)
    assert trackmllib_command("run", "./script").returncode == 5


def test_python_paths_of_the_user_stay_behind_ours(job, tmp_path):
    before = os.environ.get("PYTHONPATH", "")
    more = os.pathsep + before if before else ""
    assert told("job.py")["PYTHONPATH"] == STARTUP_FOLDER + more
    there = f"{STARTUP_FOLDER}{os.pathsep}{tmp_path}{more}"
    assert told("job.py", PYTHONPATH=f"{tmp_path}{more}")["PYTHONPATH"] == there
    assert told("job.py", PYTHONPATH=there)["PYTHONPATH"] == there


def test_an_environment_that_says_no_is_overruled_by_the_command(job):
    assert told("job.py", TRACKMLLIB_AUTOLOG="0")["TRACKMLLIB_AUTOLOG"] == "1"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "there is no command to run"),
        (["--"], "there is no command to run"),
        (["-m"], "-m needs the name of a module"),
        (["--rows", "job.py"], "there is no option --rows"),
    ],
)
def test_a_bad_command_line_shows_the_usage(given, sentence):
    done = trackmllib_command("run", *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: trackmllib run [-m MODULE | SCRIPT.py | -- COMMAND] [ARGS…]" in done.stderr
    assert sentence in done.stderr


def test_help_is_ours_only_where_it_stands_first():
    done = trackmllib_command("run", "--help")
    assert done.returncode == 0
    assert "trackmllib run -- spark-submit job.py" in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", ["no-such-command", "./no-such-command", "no_such_job.py"])
@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_a_command_that_does_not_exist_is_127(name, dashes):
    done = trackmllib_command("run", *dashes, name)
    assert (done.returncode, done.stdout) == (127, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("trackmllib: there is no ")
    assert name in line


def test_a_command_that_cannot_be_executed_is_126(job, tmp_path):
    (tmp_path / "lost").write_text("#!/no/such/interpreter\n")
    (tmp_path / "text").write_text("hello\n")
    for name in ("lost", "text"):
        (tmp_path / name).chmod(0o755)
    for name, why in {
        "./job.py": "To have Python run it: trackmllib run ./job.py",
        "./package": "is no program",
        "./lost": "the interpreter in its first line does not exist",
        "./text": "Exec format error",
    }.items():
        done = trackmllib_command("run", "--", name)
        assert done.returncode == 126
        assert name in done.stderr
        assert why in done.stderr


def test_signals_reach_the_job_because_it_is_the_same_process(tmp_path):
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


def test_signals_that_python_ignores_for_itself_are_not_ignored_in_the_command():
    for name in ("PIPE", "XFSZ"):
        done = trackmllib_command("run", "--", "sh", "-c", f"kill -{name} $$")
        assert done.returncode == -signal.Signals[f"SIG{name}"]


def test_the_terminal_is_the_jobs(tmp_path):
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
    said = b""
    while b"]" not in said or b"\n" not in said.partition(b"]")[2]:
        said += os.read(ours, 1000)
    assert process.wait(60) == 0
    os.close(ours)
    assert b"[True, True, True] typed" in said


def test_processes_that_the_job_starts_are_watched_too(tmp_path):
    (tmp_path / "job.py").write_text(
        "import subprocess, sys\n"
        "child = \"import sys; print('trackmllib.startup' in sys.modules)\"\n"
        "print(subprocess.check_output([sys.executable, '-c', child], text=True), end='')\n"
    )
    done = trackmllib_command("run", "job.py")
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_wheel_holds_the_folder_that_goes_on_the_path(tmp_path):
    root = Path(__file__).parents[2]
    (wheel,) = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    held = [name for name in zipfile.ZipFile(wheel).namelist() if "/pythonpath/" in name]
    assert held == ["trackmllib/pythonpath/sitecustomize.py"]
