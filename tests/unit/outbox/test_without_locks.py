"""Outboxes on file systems without locks, whose owners may be alive or dead."""

from __future__ import annotations

import errno
import json
import os
import sys

import pytest

from support.commands import TRACKMLLIB, environ, finished
from support.restricted_processes import without_locks
from trackmllib.domain.operations import LogArtifact
from trackmllib.outbox.directory import OutboxDirectory

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="there is no seccomp"),
    pytest.mark.versions,
]

CODES = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS]

RECORDS = """
import sys
from pathlib import Path
from trackmllib.domain.operations import LogArtifact
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.process import ProcessOutbox

warnings = []
outbox = ProcessOutbox(OutboxDirectory(Path(sys.argv[1])), warnings.append)
for search_id in ("s", "t"):
    outbox.enqueue([LogArtifact(search_id=search_id, candidate=0, file_name="a", text="")])
assert outbox.waiting() == 2 and not outbox.is_on_disk()
outbox.release()
print(*warnings, sep="\\n")
"""


@pytest.mark.parametrize("code", CODES)
def test_outbox_falls_back_to_memory_and_leaves_no_file(tmp_path, code):
    folder = tmp_path / "outbox"
    done = finished([*without_locks(code), sys.executable, "-c", RECORDS, str(folder)], environ())
    assert done.returncode == 0, done.stderr
    (warning,) = done.stdout.splitlines()
    assert f"its file system has no locks ({os.strerror(code)})" in warning
    assert "Fix: set TRACKMLLIB_HOME to a directory on a local disk" in warning
    assert "The training is not affected" in warning
    assert list(folder.iterdir()) == []


@pytest.fixture
def orphaned_outbox(tmp_path):
    """An outbox of a dead process, with an operation that waits."""
    locked = OutboxDirectory(tmp_path / "home" / "outbox").create()
    locked.outbox.enqueue([LogArtifact(search_id="s", candidate=0, file_name="a", text="")])
    locked.release()
    return locked.outbox.path


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("verb", "exit_code"), [("status", 0), ("sync", 1)])
def test_commands_list_outboxes_in_doubt(orphaned_outbox, code, verb, exit_code):
    home = orphaned_outbox.parent.parent
    before = sorted(path.name for path in orphaned_outbox.parent.iterdir())
    done = finished([*without_locks(code), *TRACKMLLIB, verb], environ(TRACKMLLIB_HOME=str(home)))
    assert done.returncode == exit_code, done.stderr
    assert str(orphaned_outbox) in done.stdout
    assert f"the file system has no locks ({os.strerror(code)})" in done.stdout
    assert "copy the directory to a local disk" in done.stdout
    assert done.stderr == ""
    assert sorted(path.name for path in orphaned_outbox.parent.iterdir()) == before


@pytest.mark.slow
def test_foreign_outbox_is_not_recovered_without_locks(orphaned_outbox):
    """Not even by the name of that machine: it may be alive."""
    lock = orphaned_outbox.with_name(f"{orphaned_outbox.name}.lock")
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "host": "elsewhere"}))
    done = finished(
        [*without_locks(errno.ENOLCK), *TRACKMLLIB, "sync", "--host", "elsewhere"],
        environ(TRACKMLLIB_HOME=str(orphaned_outbox.parent.parent)),
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "the file system has no locks (No locks available)" in done.stdout
    assert json.loads(lock.read_text())["host"] == "elsewhere"


def test_outbox_with_unreadable_lock_is_not_recovered(orphaned_outbox):
    home = orphaned_outbox.parent.parent
    done = finished(
        [*without_locks(errno.ENOLCK), *TRACKMLLIB, "status", "--json"],
        environ(TRACKMLLIB_HOME=str(home)),
    )
    (search,) = json.loads(done.stdout)["searches"]
    assert "died" not in search["state"]
    assert search["pid"] == os.getpid()
