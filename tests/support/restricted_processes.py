"""Processes under conditions that the test machine does not have."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import time
from pathlib import Path

# Command prefix: the command becomes PID 1 of a namespace, as in a container.
CONTAINER = [
    "unshare",
    *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
    *("--fork", "--pid", "--mount-proc", "--kill-child"),
]

# Command prefix: the user id has no name, as in a container started with ``--user``.
WITHOUT_A_NAME = ["unshare", "--user", "--map-user=54321"]

_FLOCK = {"x86_64": 73, "aarch64": 32}


def without_locks(errno: int) -> list[str]:
    """Return a command prefix that makes ``flock`` fail, as on a file system without locks."""
    return [sys.executable, __file__, str(errno)]


def child_of(pid: int, seconds: float = 10.0) -> int:
    """Return the child of a process; for ``CONTAINER``, the first process inside."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + seconds
    while not children.read_text().split():
        assert time.monotonic() < deadline, f"{pid} has no child"
        time.sleep(0.02)
    return int(children.read_text().split()[0])


def without_more_threads() -> str:
    """Return statements after which Python cannot start a thread, for lack of stack."""
    return (
        "import resource, threading\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 39, 1 << 39))\n"
        "threading.stack_size(1 << 40)\n"
    )


def _refuse_flock(errno: int) -> None:
    """Install a seccomp filter, which stays after exec."""
    load, jump_if_equal, answer = 0x20, 0x15, 0x06
    is_error, is_allowed = 0x00050000, 0x7FFF0000
    # The first word of the filter's input is the number of the system call.
    program = [
        (load, 0, 0, 0),
        (jump_if_equal, 0, 1, _FLOCK[platform.machine()]),
        (answer, 0, 0, is_error | errno),
        (answer, 0, 0, is_allowed),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    set_no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    for call in ((set_no_new_privileges, 1, 0, 0, 0), (set_seccomp, filter_mode, header, 0, 0)):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    _refuse_flock(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
