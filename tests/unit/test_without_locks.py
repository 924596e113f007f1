"""Outboxes on file systems without locks, whose owners may be alive or dead."""

from __future__ import annotations

import errno
import json
import os
import sys

import pytest

from commands import TRACKMLLIB, environ, finished
from processes import without_locks
from trackmllib.operations import LogArtifact
from trackmllib.outbox.home import Home

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no seccomp")

CODES = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS]

RECORDS = """
import sys
from pathlib import Path
from trackmllib.operations import LogArtifact
from trackmllib.outbox.home import Home
from trackmllib.outbox.process import ProcessOutbox

said = []
outbox = ProcessOutbox(Home(Path(sys.argv[1])), said.append)
for search_id in ("s", "t"):
    outbox.put([LogArtifact(search_id=search_id, candidate=0, file_name="a", text="")])
assert outbox.waiting() == 2 and not outbox.is_on_disk()
outbox.release()
print(*said, sep="\\n")
"""


@pytest.mark.parametrize("code", CODES)
def test_outbox_falls_back_to_memory_and_leaves_no_file(tmp_path, code):
    folder = tmp_path / "outbox"
    done = finished([*without_locks(code), sys.executable, "-c", RECORDS, str(folder)], environ())
    assert done.returncode == 0, done.stderr
    (warning,) = done.stdout.splitlines()
    assert f"its file system has no locks ({os.strerror(code)})" in warning
    assert "set TRACKMLLIB_HOME to a folder on a local disk" in warning
    assert "The training is not affected" in warning
    assert list(folder.iterdir()) == []


@pytest.fixture
def left_behind(tmp_path):
    """An outbox of a dead process, with an operation that waits."""
    held = Home(tmp_path / "home" / "outbox").create()
    held.outbox.put([LogArtifact(search_id="s", candidate=0, file_name="a", text="")])
    held.release()
    return held.outbox.path


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("verb", "exit_code"), [("status", 0), ("sync", 1)])
def test_commands_list_outboxes_in_doubt(left_behind, code, verb, exit_code):
    home = left_behind.parent.parent
    before = sorted(path.name for path in left_behind.parent.iterdir())
    done = finished([*without_locks(code), *TRACKMLLIB, verb], environ(TRACKMLLIB_HOME=str(home)))
    assert done.returncode == exit_code, done.stderr
    assert str(left_behind) in done.stdout
    assert f"the file system has no locks ({os.strerror(code)})" in done.stdout
    assert "copy the folder to a local disk" in done.stdout
    assert done.stderr == ""
    assert sorted(path.name for path in left_behind.parent.iterdir()) == before


def test_foreign_outbox_is_not_recovered_without_locks(left_behind):
    """Not even by the name of that machine: it may be alive."""
    lock = left_behind.with_name(f"{left_behind.name}.lock")
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "host": "elsewhere"}))
    done = finished(
        [*without_locks(errno.ENOLCK), *TRACKMLLIB, "sync", "--host", "elsewhere"],
        environ(TRACKMLLIB_HOME=str(left_behind.parent.parent)),
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "the file system has no locks (No locks available)" in done.stdout
    assert json.loads(lock.read_text())["host"] == "elsewhere"


def test_outbox_with_unreadable_lock_is_not_recovered(left_behind):
    home = left_behind.parent.parent
    done = finished(
        [*without_locks(errno.ENOLCK), *TRACKMLLIB, "status", "--json"],
        environ(TRACKMLLIB_HOME=str(home)),
    )
    (search,) = json.loads(done.stdout)["searches"]
    assert "died" not in search["state"]
    assert search["pid"] == os.getpid()
