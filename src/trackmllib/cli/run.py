"""``trackmllib run``: runs a command with recording switched on, as if it had been run without us.

The command takes the place of this process, so its exit status, signals and terminal are its own.
What it does differently is in its environment, which the processes that it starts inherit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from trackmllib.cli import terminal
from trackmllib.outbox.home import Home
from trackmllib.startup import VARIABLE

STARTUP_FOLDER = str(Path(__file__).resolve().parent.parent / "pythonpath")

# As shells have them.
CANNOT_RUN = 126
NOT_FOUND = 127


class CannotRun(Exception):
    """There is no such command, or it cannot be run; with the exit status that says so."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser(
        "run",
        usage="trackmllib run [-m MODULE | SCRIPT.py | -- COMMAND] [ARGS…]",
        help="run a command with recording switched on, without touching its code",
        description="Run a Python script, a Python module or any command with recording switched "
        "on, also in the Python processes that it starts. What follows is handed on as it stands.",
        epilog="trackmllib run job.py --rows 10; trackmllib run -m package; "
        "trackmllib run -- spark-submit job.py; trackmllib run -- pytest",
    )
    parser.set_defaults(run=run, refuse=parser.error)


def cut(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command line of trackmllib, and that of the command, which argparse must not look at."""
    if arguments[:1] != ["run"] or arguments[1:2] in (["-h"], ["--help"]):
        return list(arguments), []
    return ["run"], list(arguments[1:])


def run(given: argparse.Namespace, home: Home) -> int:
    """Become the command; returns, with 126 or 127, only if it cannot be run."""
    try:
        path, command = resolve(given.command, given.refuse)
        _become(path, command, environment(os.environ))
    except CannotRun as error:
        terminal.echo(f"trackmllib: {error}", err=True)
        return error.code


def resolve(given: Sequence[str], refuse: Callable[[str], NoReturn]) -> tuple[str, list[str]]:
    """The file to run, and the whole command line; ``refuse`` is called if that of ours is bad.

    :raises CannotRun: there is no such file or command, or it is none that can be run.
    """
    match list(given):
        case [] | ["--"]:
            refuse("there is no command to run")
        case ["-m"]:
            refuse("-m needs the name of a module")
        case ["--", name, *arguments]:
            return _executable(name), [name, *arguments]
        case [option, *_] if option.startswith("-") and not option.startswith("-m"):
            refuse(f"there is no option {option}; a command that begins like that goes after --")
        case [name, *arguments] if not _is_for_python(name):
            return _executable(name), [name, *arguments]
        case for_python:
            return sys.executable, [sys.executable, *for_python]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the command: recording on, and our folder first where Python looks."""
    others = environ.get("PYTHONPATH", "")
    if others.split(os.pathsep)[0] != STARTUP_FOLDER:
        # An empty entry would stand for the folder where the command runs.
        others = os.pathsep.join(filter(None, (STARTUP_FOLDER, others)))
    return {**environ, VARIABLE: "1", "PYTHONPATH": others}


def _is_for_python(name: str) -> bool:
    if name.startswith("-m"):
        return True
    if name.endswith(".py"):
        if not os.path.exists(name):
            raise CannotRun(NOT_FOUND, f"there is no file {name}.")
        return True
    return os.path.isfile(name) and not os.access(name, os.X_OK) and shutil.which(name) is None


def _executable(name: str) -> str:
    """The file that a shell would run for this name."""
    found = shutil.which(name)
    if found is not None:
        return found
    if not os.path.dirname(name):
        raise CannotRun(NOT_FOUND, f"there is no command {name} on PATH.")
    if not os.path.exists(name):
        raise CannotRun(NOT_FOUND, f"there is no file {name}.")
    hint = "" if os.path.isdir(name) else f" To have Python run it: trackmllib run {name}"
    raise CannotRun(CANNOT_RUN, f"{name} is no program that can be executed.{hint}")


def _become(path: str, command: list[str], environ: Mapping[str, str]) -> NoReturn:
    # Python ignores these two from its start, and what is ignored stays so in the command.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(path, command, environ)
    except FileNotFoundError as error:
        why = f"{path} cannot be executed: the interpreter in its first line does not exist."
        raise CannotRun(CANNOT_RUN, why) from error
    except OSError as error:
        raise CannotRun(CANNOT_RUN, f"{path} cannot be executed: {error.strerror}.") from error
