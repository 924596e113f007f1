"""``trackmllib install-hook``: lets every Python of this environment record, for whole images.

Python runs ``sitecustomize`` at its start, if there is one. It gets one line of ours.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import re
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trackmllib.cli import terminal
from trackmllib.outbox.home import Home
from trackmllib.startup import VARIABLE

_MARK = "# trackmllib install-hook"
_MARK_AND_NEWLINE = f"{_MARK}, with the end of the line above"

# Nothing but two look-ups without the variable; no error, whatever becomes of trackmllib; and no
# import in Spark's own Python workers.
LINE = (
    f'if __import__("os").environ.get("{VARIABLE}") '
    'and "-m pyspark." not in " ".join(__import__("sys").orig_argv[:3]): '
    r'exec("try:\n import trackmllib.startup as startup\n startup.watch()\nexcept Exception: pass"'
    ", {})"
)

_NEW_FILE = '"""Made by `trackmllib install-hook`; with --remove it goes away."""\n'

# In a process of its own: here, sys.path begins with the folder of the command or the current one.
_ASK = """
import json, sys
from importlib.machinery import PathFinder
if sys.path[:1] == [""]:
    del sys.path[0]
found = [PathFinder.find_spec("sitecustomize", [folder]) for folder in sys.path]
print()
print(json.dumps([spec.origin for spec in found if spec is not None and spec.origin]))
"""


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser(
        "install-hook",
        help=f"have {VARIABLE}=1 switch recording on, for every Python of this environment",
        description="Write a line into the sitecustomize.py of this Python environment: from then "
        f"on, {VARIABLE}=1 switches recording on in all its processes. Without the variable "
        "nothing changes.",
    )
    parser.add_argument("--remove", action="store_true", help="take that line away again")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, home: Home) -> int:
    """0 when the line is there (with ``--remove``: when it is not), 1 when that cannot be had."""
    found = [Path(os.path.realpath(origin)) for origin in _sitecustomizes()]
    by_hand = f"put this line at its end yourself:\n{LINE}  {_MARK}"
    try:
        if not given.remove:
            return install(found, Path(sysconfig.get_path("purelib")))
        by_hand = f"take the line with {_MARK!r} out of it yourself."
        return remove(found)
    except _CannotWrite as error:
        terminal.echo(
            f"trackmllib: {error} Nothing was changed.",
            *f"Run the command as a user who may write that file, or {by_hand}".split("\n"),
            err=True,
        )
        return 1


class _CannotWrite(Exception):
    """A sitecustomize that we cannot write, and why."""


def install(found: Sequence[Path], folder: Path) -> int:
    """Put the line into the first of ``found``; if there is none, into a new file in ``folder``."""
    file = found[0] if found else folder / "sitecustomize.py"
    before = _read(file) if found else None
    after = with_line(_NEW_FILE.encode() if before is None else without_line(before))
    if after == before:
        terminal.echo(f"The line is in {file} already; {VARIABLE}=1 switches recording on.")
        return 0
    _write(file, after)
    terminal.echo(f"{file} has the line; {VARIABLE}=1 switches recording on from now on.")
    if not file.is_relative_to(os.path.realpath(sys.prefix)):
        terminal.echo(
            "It is outside of this environment: other environments that share it read it too."
        )
    terminal.echo("To take it away: trackmllib install-hook --remove")
    return 0


def remove(found: Sequence[Path]) -> int:
    """Take the line out of each of ``found`` that has it."""
    held = [file for file in found if file.suffix == ".py" and file.is_file()]
    held = [file for file in held if without_line(_read(file)) != _read(file)]
    for file in held:
        rest = without_line(_read(file))
        if rest == _NEW_FILE.encode():
            try:
                file.unlink()
            except OSError as error:
                raise _CannotWrite(f"{file} cannot be removed: {error.strerror}.") from error
            terminal.echo(f"{file} is removed; there was nothing else in it.")
        else:
            _write(file, rest)
            terminal.echo(f"{file} is what it was without the line.")
    if not held:
        terminal.echo("There was no line to remove.")
    return 0


def with_line(code: bytes) -> bytes:
    """The file with our line as its last."""
    if code and not code.endswith(b"\n"):
        return code + f"\n{LINE}  {_MARK_AND_NEWLINE}\n".encode()
    return code + f"{LINE}  {_MARK}\n".encode()


def without_line(code: bytes) -> bytes:
    """The file as it was before, to the byte; also if more has been written behind our line."""
    code = re.sub(rb"\n" + _ours(_MARK_AND_NEWLINE) + rb"\n?\Z", b"", code)
    return re.sub(rb"(?m)^" + _ours(_MARK) + rb"[^\n]*(\n|\Z)", b"", code)


def _ours(mark: str) -> bytes:
    """A pattern for our line, also as other versions have written it; not for words about it."""
    return rb"if __import__\([^\n]*" + re.escape(mark).encode()


def _sitecustomizes() -> list[str]:
    """What Python takes as its ``sitecustomize``, and after it those that this one hides."""
    said = subprocess.run(
        [sys.executable, "-c", _ASK], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    origins: list[str] = json.loads(said.splitlines()[-1])
    return origins


def _read(file: Path) -> bytes:
    if file.suffix != ".py" or not file.is_file():
        raise _CannotWrite(f"{file} is what Python runs at its start, but no file of Python code.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise _CannotWrite(f"{file} cannot be read: {error.strerror}.") from error


def _write(file: Path, code: bytes) -> None:
    """The whole file or nothing of it, with the mode that it had."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with new.open("xb") as opened:
            opened.write(code)
            if file.exists():
                if not os.access(file, os.W_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                os.fchmod(opened.fileno(), stat.S_IMODE(file.stat().st_mode))
        os.replace(new, file)
    except OSError as error:
        raise _CannotWrite(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        # Not there after a success; and perhaps not even to be looked for after an error.
        with contextlib.suppress(OSError):
            new.unlink()
