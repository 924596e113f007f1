"""Runs Python and ``trackmllib`` as processes and captures their output."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

TRACKMLLIB = [sys.executable, "-c", "from trackmllib.cli import main; raise SystemExit(main())"]


def environ(*folders: Path | str, **more: str) -> dict[str, str]:
    """Return the environment of the tests, with these folders first on PYTHONPATH."""
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join(filter(None, (*map(str, folders), *before)))
    kept = {k: v for k, v in os.environ.items() if k != "TRACKMLLIB_AUTOLOG"}
    return {**kept, "PYTHONPATH": path, **more}


def finished(
    command: list[str], env: dict[str, str], seconds: float = 120.0, **options
) -> subprocess.CompletedProcess:
    """Run a command to its end."""
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=seconds, check=False, **options
    )


def trackmllib_command(
    *arguments: str, env: dict[str, str] | None = None, **options
) -> subprocess.CompletedProcess:
    """Run ``trackmllib`` with these arguments to its end."""
    return finished([*TRACKMLLIB, *arguments], environ() if env is None else env, **options)


def on_terminal(command: list[str], env: dict[str, str], columns: int) -> str:
    """Output of a command that succeeds, on a terminal with this many columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(command, env=env, stdout=its, stderr=its, stdin=its)
    os.close(its)
    printed = b""
    # At the end of the output, reading is an error on Linux and returns nothing on macOS.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 65536):
            printed += part
    os.close(ours)
    assert process.wait(60) == 0, printed
    return printed.decode().replace("\r", "")


def table_lines(text: str) -> list[str]:
    """Lines of the last table in the output of a command, titles first, then notes."""
    return text.rstrip("\n").split("\n\n")[-1].splitlines()


def table_rows(text: str) -> list[list[str]]:
    """Values of the last table in the output of a command, titles first."""
    return [re.split(r"  +", line.strip()) for line in table_lines(text)]
