"""Entry point: runs a command, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import io
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from trackmllib.cli import terminal
from trackmllib.cli.errors import CommandError
from trackmllib.exceptions import TrackmllibError, Unreachable
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.version import __version__

# In the order of --help. The module of a command has its name; its function is ``command``.
COMMANDS = (
    *("run", "install-hook"),
    *("searches", "show", "report", "compare", "stop"),
    *("status", "sync", "drop"),
)

# Commands that read the outboxes; an error loses nothing there.
OUTBOX_COMMANDS = ("status", "sync", "drop")

UNUSABLE = 2
UNREACHABLE = 3
INTERRUPTED = 130
# As in shells, for a process that SIGPIPE ended.
BROKEN_PIPE = 141


class LazyGroup(click.Group):
    """Group that imports the module of a command when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"trackmllib.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and turn its errors into exit codes.

        Here and not in ``main``, because ``click`` ends the process on a broken pipe.
        """
        with _errors_as_exit_codes(ctx):
            return super().invoke(ctx)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line, and print ``--help`` and ``--version``."""
        with _errors_as_exit_codes():
            return super().make_context(*args, **kwargs)


@contextmanager
def _errors_as_exit_codes(ctx: click.Context | None = None) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        # Python flushes standard output once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(BROKEN_PIPE) from error
    except Unreachable as error:
        raise CommandError(str(error), UNREACHABLE) from error
    except (TrackmllibError, OSError, sqlite3.Error) as error:
        is_safe = ctx is not None and ctx.invoked_subcommand in OUTBOX_COMMANDS
        message = f"{error}. Nothing is lost." if is_safe else str(error)
        raise CommandError(message, UNUSABLE) from error


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Operations that have not reached their tracking server yet are stored in "
    f"{OutboxDirectory.for_user().path}. TRACKMLLIB_HOME sets another folder.",
)
@click.version_option(__version__, prog_name="trackmllib", message="%(prog)s %(version)s")
def commands() -> None:
    """Record hyperparameter searches of Spark MLlib in MLflow.

    Switch recording on without changing code, read searches from a tracking server, and deliver
    what has not reached the server yet.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    :param arguments: The command line; by default that of the process.
    :returns: The exit code.
    """
    terminal.make_encodable()
    args = None if arguments is None else list(arguments)
    try:
        code = commands.main(
            args, "trackmllib", standalone_mode=False, color=terminal.color_override()
        )
        return int(code or 0)
    except CommandError as error:
        terminal.echo(*f"trackmllib: {error}".split("\n"), err=True)
        return error.exit_code
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        terminal.echo(*shown.getvalue().rstrip("\n").split("\n"), err=True)
        return error.exit_code
    except click.Abort:
        terminal.echo("trackmllib: interrupted; nothing is lost.", err=True)
        return INTERRUPTED
