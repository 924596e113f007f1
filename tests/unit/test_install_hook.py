"""The line in sitecustomize.py: it works, it goes away without a trace, and it harms nobody."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

import trackmllib
from commands import TRACKMLLIB, environ, finished, trackmllib_command
from trackmllib.cli.install_hook import install, remove, with_line, without_line

SOURCES = Path(trackmllib.__file__).parents[1]
WATCHES = "import sys; print('trackmllib.startup' in sys.modules)"

FILES = [
    b"",
    b"import os\n",
    b"import os",
    b"x = 1\r\ny = 2\r\n",
    b"# caf\xc3\xa9\n\n\n",
    b"if True:\n    x = 1",
    b"# trackmllib install-hook was run here\n",
]


def hook(*arguments: str, folder: Path, code: int = 0) -> str:
    """Run ``trackmllib install-hook`` where Python finds a sitecustomize in this folder."""
    done = trackmllib_command("install-hook", *arguments, env=environ(folder))
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def watches(*folders: Path, **variables: str) -> str:
    """What a Python says that finds its sitecustomize there: what is printed, and the errors."""
    done = finished([sys.executable, "-c", WATCHES], environ(*folders, **variables))
    assert done.returncode == 0
    return done.stdout + done.stderr


@pytest.mark.parametrize("before", FILES)
def test_the_line_comes_and_goes_and_every_byte_stays(tmp_path, before):
    file = tmp_path / "sitecustomize.py"
    file.write_bytes(before)
    file.chmod(0o640)
    assert install([file], tmp_path) == 0
    assert file.read_bytes().startswith(before)
    assert len(file.read_bytes().splitlines()) == len(before.splitlines()) + 1
    assert file.stat().st_mode & 0o777 == 0o640
    assert watches(tmp_path, TRACKMLLIB_AUTOLOG="1") == "True\n"
    assert remove([file]) == 0
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.glob("*.py*")] == ["sitecustomize.py"]


@pytest.mark.parametrize("before", FILES)
def test_what_was_written_behind_the_line_stays(before):
    after = with_line(before) + b"z = 3\n"
    separated = before + b"\n" if before and not before.endswith(b"\n") else before
    assert without_line(after) == separated + b"z = 3\n"


def test_a_new_file_is_made_and_removed_again(tmp_path, capsys):
    assert install([], tmp_path) == 0
    assert (
        f"{tmp_path}/sitecustomize.py has the line; TRACKMLLIB_AUTOLOG=1" in capsys.readouterr().out
    )
    assert watches(tmp_path, TRACKMLLIB_AUTOLOG="1") == "True\n"
    assert watches(tmp_path) == "False\n"
    assert remove([tmp_path / "sitecustomize.py"]) == 0
    assert list(tmp_path.glob("*.py")) == []


def test_the_command_takes_the_file_that_python_takes_and_twice_is_once(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sitecustomize.py").write_text(f"print('{name}')\n")
    first, second = tmp_path / "first", tmp_path / "second"
    env = environ(first, second)
    said = trackmllib_command("install-hook", env=env)
    assert said.returncode == 0, said.stderr
    assert f"{first}/sitecustomize.py has the line" in said.stdout
    assert "TRACKMLLIB_AUTOLOG=1 switches recording on" in said.stdout
    once = (first / "sitecustomize.py").read_bytes()
    assert "already" in trackmllib_command("install-hook", env=env).stdout
    assert (first / "sitecustomize.py").read_bytes() == once
    assert (second / "sitecustomize.py").read_text() == "print('second')\n"
    assert watches(first, second, TRACKMLLIB_AUTOLOG="1") == "first\nTrue\n"

    # A file of somebody else's hides ours meanwhile: it is found all the same.
    said = trackmllib_command("install-hook", "--remove", env=environ(second, first))
    assert f"{first}/sitecustomize.py is what it was" in said.stdout
    assert (first / "sitecustomize.py").read_text() == "print('first')\n"
    again = trackmllib_command("install-hook", "--remove", env=env)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "There was no line to remove.")


def test_under_trackmllib_run_too_it_takes_the_file_of_the_user(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("x = 1\n")
    command = [sys.executable, "-m", "trackmllib_command"]
    (tmp_path / "trackmllib_command.py").write_text(
        "from trackmllib.cli import main; raise SystemExit(main(['install-hook']))"
    )
    done = trackmllib_command("run", "--", *command, env=environ(tmp_path))
    assert f"{tmp_path}/sitecustomize.py has the line" in done.stdout, done.stderr


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.py").write_text("x = 1\n")
    (tmp_path / "sitecustomize.py").symlink_to(tmp_path / "real.py")
    assert f"{tmp_path}/real.py has the line" in hook(folder=tmp_path)
    assert (tmp_path / "sitecustomize.py").is_symlink()
    assert watches(tmp_path, TRACKMLLIB_AUTOLOG="1") == "True\n"
    hook("--remove", folder=tmp_path)
    assert (tmp_path / "real.py").read_text() == "x = 1\n"


def test_a_trackmllib_that_is_gone_or_broken_is_no_error(tmp_path):
    assert install([], tmp_path) == 0
    bare = {"PYTHONPATH": str(tmp_path), "TRACKMLLIB_AUTOLOG": "1"}
    broken = tmp_path / "trackmllib"
    broken.mkdir()
    for text in ("raise ImportError('gone')", "raise RuntimeError('broken')"):
        (broken / "__init__.py").write_text(text)
        done = finished([sys.executable, "-c", "print(1)"], {**environ(), **bare})
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_in_workers_of_spark_the_line_imports_nothing(tmp_path):
    assert install([], tmp_path) == 0
    for name, text in (("__init__", ""), ("daemon", WATCHES)):
        file = tmp_path / f"pyspark/{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    env = environ(tmp_path, TRACKMLLIB_AUTOLOG="1")
    done = finished([sys.executable, "-m", "pyspark.daemon"], env)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_sitecustomize_that_is_no_file_is_left_alone_and_the_line_is_shown(tmp_path):
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("sitecustomize.py", "x = 1\n")
    before = packed.read_bytes()
    said = hook(folder=packed, code=1)
    assert f"{packed}/sitecustomize.py is what Python runs at its start" in said
    assert "Nothing was changed." in said
    assert '__import__("os").environ.get("TRACKMLLIB_AUTOLOG")' in said
    assert packed.read_bytes() == before
    assert "There was no line to remove" in hook("--remove", folder=packed)


def test_a_file_that_cannot_be_written_is_left_as_it_is(tmp_path):
    file = tmp_path / "sitecustomize.py"
    file.write_text("x = 1\n")
    no_room = ["bash", "-c", 'ulimit -f 0; exec "$0" "$@"', *TRACKMLLIB, "install-hook"]
    done = finished(no_room, environ(tmp_path))
    assert done.returncode == 1
    assert f"{file} cannot be written: File too large. Nothing was changed." in done.stderr
    assert "Run the command as a user who may write that file, or put this line" in done.stderr
    assert file.read_text() == "x = 1\n"

    hook(folder=tmp_path)
    with_the_line = file.read_text()
    done = finished([*no_room, "--remove"], environ(tmp_path))
    assert done.returncode == 1
    assert "or take the line with '# trackmllib install-hook' out of it" in done.stderr
    assert file.read_text() == with_the_line
    assert [path.name for path in tmp_path.glob("*sitecustomize*")] == ["sitecustomize.py"]
