"""``trackmllib run``: runs a command with recording on.

The command replaces this process, so exit status, signals and terminal are its own. Processes that
it starts inherit its environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from trackmllib.cli.errors import CommandError
from trackmllib.integrations.startup_variable import VARIABLE

STARTUP_FOLDER = str(Path(__file__).resolve().parent.parent / "integrations" / "pythonpath")

# As in shells.
CANNOT_RUN = 126
NOT_FOUND = 127


class PassThroughCommand(click.Command):
    """Command that passes on all options except a leading ``--help``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] not in (["-h"], ["--help"]):
            # Ends our options; click removes it, but passes on the user's "--".
            args = ["--", *args]
        return super().parse_args(ctx, args)


def _complete_file(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


@click.command(
    cls=PassThroughCommand,
    options_metavar="[-m MODULE | SCRIPT.py | -- COMMAND]",
)
@click.argument(
    "arguments",
    metavar="[ARGS]...",
    nargs=-1,
    type=click.UNPROCESSED,
    shell_complete=_complete_file,
)
def command(arguments: tuple[str, ...]) -> None:
    """Run a command with recording on, without changing its code.

    The command is a Python script, a Python module, or any program after "--". The Python
    processes that it starts record as well. ARGS are passed on unchanged.

    \b
    Examples:
      trackmllib run job.py --rows 10
      trackmllib run -m package
      trackmllib run -- spark-submit job.py
      trackmllib run -- pytest
    """
    path, command_line = resolve(arguments)
    _execute(path, command_line, environment(os.environ))


def resolve(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """File to execute, and its whole command line.

    :raises click.UsageError: There is no command.
    :raises CommandError: The command does not exist or is not executable.
    """
    match list(arguments):
        case [] | ["--"]:
            raise click.UsageError("Missing command to run.")
        case ["-m"]:
            raise click.UsageError("Option '-m' requires a module.")
        case ["--", name, *rest]:
            return _executable(name), [name, *rest]
        case [option, *_] if option.startswith("-") and not option.startswith("-m"):
            raise click.UsageError(
                f"No such option: {option}. A command that starts with a dash goes after --."
            )
        case [name, *rest] if not _is_for_python(name):
            return _executable(name), [name, *rest]
        case for_python:
            return sys.executable, [sys.executable, *for_python]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment of the command, which switches recording on."""
    others = environ.get("PYTHONPATH", "")
    if others.split(os.pathsep)[0] != STARTUP_FOLDER:
        # An empty entry would mean the current folder.
        others = os.pathsep.join(filter(None, (STARTUP_FOLDER, others)))
    return {**environ, VARIABLE: "1", "PYTHONPATH": others}


def _is_for_python(name: str) -> bool:
    if name.startswith("-m"):
        return True
    if name.endswith(".py"):
        if not os.path.exists(name):
            raise CommandError(f"{name}: no such file.", NOT_FOUND)
        return True
    return os.path.isfile(name) and not os.access(name, os.X_OK) and shutil.which(name) is None


def _executable(name: str) -> str:
    """File that a shell would execute for this name."""
    found = shutil.which(name)
    if found is not None:
        return found
    if not os.path.dirname(name):
        raise CommandError(f"{name}: no such command on PATH.", NOT_FOUND)
    if not os.path.exists(name):
        raise CommandError(f"{name}: no such file.", NOT_FOUND)
    if os.path.isdir(name):
        raise CommandError(f"{name} is a directory, not a command.", CANNOT_RUN)
    raise CommandError(
        f"{name} is not executable. To run it with Python: trackmllib run {name}", CANNOT_RUN
    )


def _execute(path: str, command_line: list[str], environ: Mapping[str, str]) -> NoReturn:
    """Replace this process with the command."""
    # Python ignores these signals, which the command would inherit.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(path, command_line, environ)
    except FileNotFoundError as error:
        message = f"{path} cannot be executed: the interpreter in its first line does not exist."
        raise CommandError(message, CANNOT_RUN) from error
    except OSError as error:
        raise CommandError(f"{path} cannot be executed: {error.strerror}.", CANNOT_RUN) from error
