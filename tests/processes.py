"""Processes under conditions that the machine of the tests does not have by itself."""

from __future__ import annotations

import os
import time
from pathlib import Path

# Before a command: it becomes the first process of a PID namespace, as that of a container is.
CONTAINER = [
    "unshare",
    *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
    *("--fork", "--pid", "--mount-proc", "--kill-child"),
]

# Before a command: its user has a number that no name is known for, as in a container that is run
# with one.
WITHOUT_A_NAME = ["unshare", "--user", "--map-user=54321"]


def child_of(pid: int, seconds: float = 10.0) -> int:
    """The process that another one has started: of ``CONTAINER``, the first one inside."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + seconds
    while not children.read_text().split():
        assert time.monotonic() < deadline, f"{pid} has no child"
        time.sleep(0.02)
    return int(children.read_text().split()[0])


def without_more_threads() -> str:
    """Statements after which Python can start no thread: no stack of such a size can be had."""
    return (
        "import resource, threading\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 39, 1 << 39))\n"
        "threading.stack_size(1 << 40)\n"
    )
