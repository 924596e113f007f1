"""The hook in ``sitecustomize.py``: its effect, its removal, and files it cannot be added to."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

import trackmllib
from support.commands import TRACKMLLIB, environ, finished, trackmllib_command
from trackmllib.cli.install_hook import install, remove, with_hook, without_hook

SOURCES = Path(trackmllib.__file__).parents[1]
PRINT_WATCHING = "import sys; print('trackmllib.integrations.process_startup' in sys.modules)"

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
    """Output of ``trackmllib install-hook`` with this folder on the path."""
    done = trackmllib_command("install-hook", *arguments, env=environ(folder))
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def output_with_hook(*folders: Path, **variables: str) -> str:
    """Output of a Python process with these folders on its path: whether the hook has run."""
    done = finished([sys.executable, "-c", PRINT_WATCHING], environ(*folders, **variables))
    assert done.returncode == 0
    return done.stdout + done.stderr


@pytest.mark.parametrize("before", FILES)
def test_hook_is_added_and_removed_to_the_byte(tmp_path, before):
    file = tmp_path / "sitecustomize.py"
    file.write_bytes(before)
    file.chmod(0o640)
    install([file], tmp_path)
    assert file.read_bytes().startswith(before)
    assert len(file.read_bytes().splitlines()) == len(before.splitlines()) + 1
    assert file.stat().st_mode & 0o777 == 0o640
    assert output_with_hook(tmp_path, TRACKMLLIB_AUTOLOG="1") == "True\n"
    remove([file])
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.glob("*.py*")] == ["sitecustomize.py"]


@pytest.mark.parametrize("before", FILES)
def test_removal_keeps_lines_after_hook(before):
    after = with_hook(before) + b"z = 3\n"
    separated = before + b"\n" if before and not before.endswith(b"\n") else before
    assert without_hook(after) == separated + b"z = 3\n"


def test_new_file_is_created_and_removed(tmp_path, capsys):
    install([], tmp_path)
    added = f"Added the hook to {tmp_path}/sitecustomize.py. TRACKMLLIB_AUTOLOG=1 now"
    assert added in capsys.readouterr().out
    assert output_with_hook(tmp_path, TRACKMLLIB_AUTOLOG="1") == "True\n"
    assert output_with_hook(tmp_path) == "False\n"
    remove([tmp_path / "sitecustomize.py"])
    assert list(tmp_path.glob("*.py")) == []


def test_hook_is_added_once_to_file_that_python_runs(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sitecustomize.py").write_text(f"print('{name}')\n")
    first, second = tmp_path / "first", tmp_path / "second"
    env = environ(first, second)
    done = trackmllib_command("install-hook", env=env)
    assert done.returncode == 0, done.stderr
    assert f"Added the hook to {first}/sitecustomize.py." in done.stdout
    assert "TRACKMLLIB_AUTOLOG=1 now switches recording on" in done.stdout
    once = (first / "sitecustomize.py").read_bytes()
    assert "already has the hook" in trackmllib_command("install-hook", env=env).stdout
    assert (first / "sitecustomize.py").read_bytes() == once
    assert (second / "sitecustomize.py").read_text() == "print('second')\n"
    assert output_with_hook(first, second, TRACKMLLIB_AUTOLOG="1") == "first\nTrue\n"

    # The hook is found even if another sitecustomize now hides its file.
    done = trackmllib_command("install-hook", "--remove", env=environ(second, first))
    assert f"Removed the hook from {first}/sitecustomize.py." in done.stdout
    assert (first / "sitecustomize.py").read_text() == "print('first')\n"
    again = trackmllib_command("install-hook", "--remove", env=env)
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "There is no hook to remove.")


def test_hook_is_added_to_file_of_user_under_trackmllib_run(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("x = 1\n")
    command = [sys.executable, "-m", "trackmllib_command"]
    (tmp_path / "trackmllib_command.py").write_text(
        "from trackmllib.cli import main; raise SystemExit(main(['install-hook']))"
    )
    done = trackmllib_command("run", "--", *command, env=environ(tmp_path))
    assert f"Added the hook to {tmp_path}/sitecustomize.py." in done.stdout, done.stderr


def test_hook_follows_symbolic_link(tmp_path):
    (tmp_path / "real.py").write_text("x = 1\n")
    (tmp_path / "sitecustomize.py").symlink_to(tmp_path / "real.py")
    assert f"Added the hook to {tmp_path}/real.py." in hook(folder=tmp_path)
    assert (tmp_path / "sitecustomize.py").is_symlink()
    assert output_with_hook(tmp_path, TRACKMLLIB_AUTOLOG="1") == "True\n"
    hook("--remove", folder=tmp_path)
    assert (tmp_path / "real.py").read_text() == "x = 1\n"


def test_hook_ignores_missing_or_broken_trackmllib(tmp_path):
    install([], tmp_path)
    bare = {"PYTHONPATH": str(tmp_path), "TRACKMLLIB_AUTOLOG": "1"}
    broken = tmp_path / "trackmllib"
    broken.mkdir()
    for text in ("raise ImportError('gone')", "raise RuntimeError('broken')"):
        (broken / "__init__.py").write_text(text)
        done = finished([sys.executable, "-c", "print(1)"], {**environ(), **bare})
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_hook_imports_nothing_in_spark_workers(tmp_path):
    install([], tmp_path)
    for name, text in (("__init__", ""), ("daemon", PRINT_WATCHING)):
        file = tmp_path / f"pyspark/{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    env = environ(tmp_path, TRACKMLLIB_AUTOLOG="1")
    done = finished([sys.executable, "-m", "pyspark.daemon"], env)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_zipped_sitecustomize_is_not_changed(tmp_path):
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("sitecustomize.py", "x = 1\n")
    before = packed.read_bytes()
    done = hook(folder=packed, code=1)
    assert f"{packed}/sitecustomize.py is the sitecustomize of this Python, but not" in done
    assert "Nothing was changed." in done
    assert '__import__("os").environ.get("TRACKMLLIB_AUTOLOG")' in done
    assert packed.read_bytes() == before
    assert "There is no hook to remove" in hook("--remove", folder=packed)


def test_unwritable_file_is_not_changed(tmp_path):
    file = tmp_path / "sitecustomize.py"
    file.write_text("x = 1\n")
    no_room = ["bash", "-c", 'ulimit -f 0; exec "$0" "$@"', *TRACKMLLIB, "install-hook"]
    done = finished(no_room, environ(tmp_path))
    assert done.returncode == 1
    assert f"{file} cannot be written: File too large. Nothing was changed." in done.stderr
    assert "Run the command as a user who may write the file, or add this line" in done.stderr
    assert file.read_text() == "x = 1\n"

    hook(folder=tmp_path)
    with_the_line = file.read_text()
    done = finished([*no_room, "--remove"], environ(tmp_path))
    assert done.returncode == 1
    assert "or delete its line with '# trackmllib install-hook'" in done.stderr
    assert file.read_text() == with_the_line
    assert [path.name for path in tmp_path.glob("*sitecustomize*")] == ["sitecustomize.py"]
