"""``trackmllib install-hook``: an environment variable for recording.

Python runs the module ``sitecustomize`` when it starts. The hook is a line in it.
"""

from __future__ import annotations

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

import click

from trackmllib.cli import terminal
from trackmllib.integrations.startup_variable import VARIABLE

_MARK = "# trackmllib install-hook"
_MARK_AND_NEWLINE = f"{_MARK}, with the end of the line above"

# The line never raises, even if trackmllib is broken or gone, and imports nothing in Spark's Python
# workers.
LINE = (
    f'if __import__("os").environ.get("{VARIABLE}") '
    'and "-m pyspark." not in " ".join(__import__("sys").orig_argv[:3]): '
    r'exec("try:\n import trackmllib.integrations.process_startup as startup\n'
    r' startup.watch()\nexcept Exception: pass", {})'
)

_NEW_FILE = '"""Created by `trackmllib install-hook`; `--remove` deletes it."""\n'

# Runs in another process, because sys.path of this one starts with the folder of the script.
_FIND_FILES = """
import json, sys
from importlib.machinery import PathFinder
if sys.path[:1] == [""]:
    del sys.path[0]
found = [PathFinder.find_spec("sitecustomize", [folder]) for folder in sys.path]
print()
print(json.dumps([spec.origin for spec in found if spec is not None and spec.origin]))
"""


@click.command("install-hook")
@click.option("--remove", "is_removal", is_flag=True, help="Remove the hook.")
def command(is_removal: bool) -> int:
    """Let TRACKMLLIB_AUTOLOG=1 switch recording on.

    Adds a line to the sitecustomize.py of this Python environment. From then on,
    TRACKMLLIB_AUTOLOG=1 switches recording on in all its processes. Without the variable, the
    line does nothing.
    """
    found = [Path(os.path.realpath(origin)) for origin in _sitecustomize_files()]
    by_hand = f"add this line to the end of the file:\n{LINE}  {_MARK}"
    try:
        if not is_removal:
            install(found, Path(sysconfig.get_path("purelib")))
            return 0
        by_hand = f"delete its line with {_MARK!r}."
        remove(found)
        return 0
    except CannotWriteError as error:
        terminal.echo(
            f"trackmllib: {error} Nothing was changed.",
            *f"Run the command as a user who may write the file, or {by_hand}".split("\n"),
            err=True,
        )
        return 1


class CannotWriteError(Exception):
    """A sitecustomize cannot be changed; the message is a sentence."""


def install(found: Sequence[Path], folder: Path) -> None:
    """Add the hook to the first of ``found``, or to a new file in ``folder``."""
    file = found[0] if found else folder / "sitecustomize.py"
    before = _read(file) if found else None
    after = with_hook(_NEW_FILE.encode() if before is None else without_hook(before))
    if after == before:
        terminal.echo(f"{file} already has the hook; {VARIABLE}=1 switches recording on.")
        return
    _write(file, after)
    terminal.echo(f"Added the hook to {file}. {VARIABLE}=1 now switches recording on.")
    if not file.is_relative_to(os.path.realpath(sys.prefix)):
        terminal.echo("The file is outside this environment: others that share it also read it.")
    terminal.echo("To remove the hook: trackmllib install-hook --remove")


def remove(found: Sequence[Path]) -> None:
    """Remove the hook from each of ``found`` that has it."""
    files = [file for file in found if file.suffix == ".py" and file.is_file()]
    files = [file for file in files if without_hook(_read(file)) != _read(file)]
    for file in files:
        rest = without_hook(_read(file))
        if rest == _NEW_FILE.encode():
            try:
                file.unlink()
            except OSError as error:
                raise CannotWriteError(f"{file} cannot be removed: {error.strerror}.") from error
            terminal.echo(f"Removed {file}, which had only the hook.")
        else:
            _write(file, rest)
            terminal.echo(f"Removed the hook from {file}.")
    if not files:
        terminal.echo("There is no hook to remove.")


def with_hook(code: bytes) -> bytes:
    """Content of a file with the hook as its last line."""
    if code and not code.endswith(b"\n"):
        return code + f"\n{LINE}  {_MARK_AND_NEWLINE}\n".encode()
    return code + f"{LINE}  {_MARK}\n".encode()


def without_hook(code: bytes) -> bytes:
    """Content of a file without the hook; lines after the hook stay."""
    code = re.sub(rb"\n" + _pattern(_MARK_AND_NEWLINE) + rb"\n?\Z", b"", code)
    return re.sub(rb"(?m)^" + _pattern(_MARK) + rb"[^\n]*(\n|\Z)", b"", code)


def _pattern(mark: str) -> bytes:
    """Pattern for the hooks of all versions, but not for comments about them."""
    return rb"if __import__\([^\n]*" + re.escape(mark).encode()


def _sitecustomize_files() -> list[str]:
    """The sitecustomize that Python runs, and then those that it hides."""
    output = subprocess.run(
        [sys.executable, "-c", _FIND_FILES], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    origins: list[str] = json.loads(output.splitlines()[-1])
    return origins


def _read(file: Path) -> bytes:
    if file.suffix != ".py" or not file.is_file():
        raise CannotWriteError(f"{file} is the sitecustomize of this Python, but not a .py file.")
    try:
        return file.read_bytes()
    except OSError as error:
        raise CannotWriteError(f"{file} cannot be read: {error.strerror}.") from error


def _write(file: Path, code: bytes) -> None:
    """Replace a file atomically, and keep its mode."""
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
        raise CannotWriteError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        # The file exists only after an error.
        with contextlib.suppress(OSError):
            new.unlink()
