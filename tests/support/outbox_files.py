"""Outbox files of real processes, alive or killed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from trackmllib.domain.operations import LogArtifact
from trackmllib.outbox.directory import OutboxDirectory

DRIVER = """
import sys, time
from pathlib import Path
from trackmllib.domain.operations import LogArtifact
from trackmllib.outbox.directory import OutboxDirectory

locked = OutboxDirectory(Path(sys.argv[1])).create()
artifacts = [LogArtifact(search_id="s", candidate=0, file_name=n, text="") for n in "abc"]
locked.outbox.enqueue(artifacts)
print("ready", flush=True)
time.sleep(300)
"""


@contextmanager
def driver(path: Path):
    """A real process that owns an outbox with three rows."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()


def orphaned_outbox(directory: OutboxDirectory) -> Path:
    """Create the outbox of a killed process."""
    with driver(directory.path):
        pass
    (path,) = directory.path.glob("*.db")
    return path


def artifact(name, search_id="s"):
    return LogArtifact(search_id=search_id, candidate=0, file_name=name, text="")


def names(outbox) -> list[str]:
    return [row.operation.file_name for row in outbox.peek(100)]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def files(directory: OutboxDirectory) -> list[str]:
    return sorted(path.name for path in directory.path.iterdir())


def lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def close(locked) -> None:
    locked.outbox.close()
    locked.lock.release()
