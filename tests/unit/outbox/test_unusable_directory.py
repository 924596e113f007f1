"""Outbox directories that cannot exist, for which trackmllib warns and records in memory."""

from __future__ import annotations

import sys

import pytest

from support.commands import TRACKMLLIB, environ, finished, trackmllib_command
from support.restricted_processes import WITHOUT_A_NAME
from trackmllib.exceptions import OutboxError
from trackmllib.outbox.directory import OutboxDirectory

pytestmark = pytest.mark.versions

# MLflow 3 cannot be imported without a home directory.
AUTOLOG = """
import os, mlflow, trackmllib
os.environ.pop("HOME", None)
trackmllib.autolog()
print(trackmllib.flush(1))
"""
IN_MEMORY = "stay in memory, and are lost if this process dies before they are delivered"
ADVICE = "Fix: set TRACKMLLIB_HOME to a directory of your own"
NO_NAMED_HOME = "TRACKMLLIB_HOME is '~nosuchuser/x', but there is no such home directory"
NO_HOME = "This user has no home directory, and TRACKMLLIB_HOME is not set"

linux = pytest.mark.skipif(sys.platform != "linux", reason="there are no user namespaces")


def variables(value: str | None) -> dict[str, str]:
    kept = {k: v for k, v in environ().items() if not k.startswith(("TRACKMLLIB", "XDG"))}
    return kept if value is None else {**kept, "TRACKMLLIB_HOME": value}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prefix", "value", "sentence"),
    [
        ([], "~nosuchuser/x", NO_NAMED_HOME),
        pytest.param(WITHOUT_A_NAME, None, NO_HOME, marks=linux),
        pytest.param(WITHOUT_A_NAME, "", NO_HOME, marks=linux),
    ],
)
def test_autolog_warns_once_and_records_in_memory(tmp_path, prefix, value, sentence):
    done = finished([*prefix, sys.executable, "-c", AUTOLOG], variables(value), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if "TRACKMLLIB_HOME" in line]
    assert warning.startswith(f"{sentence}. The training is not affected. ")
    assert IN_MEMORY in warning
    assert ADVICE in warning
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [["status"], ["sync"], ["drop", "x"]])
@pytest.mark.parametrize(
    ("prefix", "value", "sentence"),
    [
        ([], "~nosuchuser/x", NO_NAMED_HOME),
        pytest.param(WITHOUT_A_NAME, None, NO_HOME, marks=linux),
    ],
)
def test_outbox_commands_print_one_line(tmp_path, prefix, value, sentence, verb):
    done = finished(
        [*prefix, "env", "-u", "HOME", *TRACKMLLIB, *verb], variables(value), cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"trackmllib: {sentence}. {ADVICE}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", [["status"], ["sync"]])
@pytest.mark.parametrize("file", ["home", "home/outbox"])
def test_file_instead_of_directory_is_reported(tmp_path, verb, file):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    done = trackmllib_command(*verb, env=variables(str(tmp_path / "home")))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"trackmllib: {tmp_path}/home/outbox ")
    assert path.read_text() == "mine"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--", sys.executable, "-c", ""]])
def test_commands_without_outbox_need_no_directory(arguments):
    done = trackmllib_command(*arguments, env=variables("~nosuchuser/x"))
    assert (done.returncode, done.stderr) == (0, "")


def test_relative_directory_needs_a_current_one(tmp_path):
    """The next process could not find an outbox in a directory that is gone."""
    (tmp_path / "gone").mkdir()
    done = finished(
        ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *TRACKMLLIB, "status"],
        variables("relative"),
        cwd=tmp_path / "gone",
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "trackmllib: TRACKMLLIB_HOME is 'relative', but the current directory, to which it is "
        "relative, does not exist"
    )


def test_name_with_nul_is_rejected():
    """No environment has one; a mapping may."""
    directory = OutboxDirectory.for_user({"TRACKMLLIB_HOME": "a\0b"})
    for use in (directory.create, directory.entries, directory.damaged, directory.is_empty):
        with pytest.raises(OutboxError, match=r"TRACKMLLIB_HOME is 'a\\x00b', but"):
            use()


def test_message_about_uncreatable_directory_says_what_to_do(tmp_path):
    (tmp_path / "home").write_text("mine")
    with pytest.raises(
        OutboxError, match=r"cannot be created: File exists\. Fix: set TRACKMLLIB_HOME to a"
    ):
        OutboxDirectory.for_user({"TRACKMLLIB_HOME": str(tmp_path / "home")}).create()
