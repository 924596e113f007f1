"""Reads the command line and hands over to the file of the verb."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Sequence

from trackmllib.cli import (
    compare,
    completion,
    drop,
    install_hook,
    report,
    run,
    searches,
    show,
    status,
    stop,
    sync,
    terminal,
)
from trackmllib.errors import TrackmllibError, UnknownSearch, Unreachable
from trackmllib.outbox.home import VARIABLE, Home
from trackmllib.version import __version__

_VERBS = (
    *(run, install_hook),
    *(searches, show, report, compare, stop),
    *(status, sync, drop),
    completion,
)

# The verbs that deal with what is on this disk only.
_DELIVER = ("status", "sync", "drop")

# As a shell has it for a command whose reader went away, like head.
NOBODY_READS = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; its exit code. 2 for a command line or an outbox that cannot be used, or a run
    that is no search; 3 for a server that cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog="trackmllib",
        description="Switches recording on without touching the code; reads searches back from the "
        "tracking server; and says and delivers what that one does not have yet.",
        epilog="What it does not have yet lies in the folder that "
        f"{VARIABLE} names: {Home.of_user().folder}",
    )
    parser.add_argument("--version", action="version", version=f"trackmllib {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in _VERBS:
        verb.add_to(verbs)
    ours, command = run.cut(sys.argv[1:] if arguments is None else arguments)
    given = parser.parse_args(ours, argparse.Namespace(command=command))
    terminal.prepare()
    try:
        code = int(given.run(given, Home.of_user()))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Nor is there anybody for what Python would still write at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    except Unreachable as error:
        _say(str(error))
        return 3
    except UnknownSearch as error:
        _say(str(error))
        return 2
    except (TrackmllibError, OSError, sqlite3.Error) as error:
        # Of a record that is still on disk; what was only to be read is where it was anyway.
        rest = ". Nothing is lost by that." if given.verb in _DELIVER else ""
        _say(f"{error}{rest}")
        return 2
    except KeyboardInterrupt:
        terminal.echo("", "trackmllib: stopped; nothing is lost.", err=True)
        return 130


def _say(sentence: str) -> None:
    """Print an error, which may list near matches, one on each line."""
    terminal.echo(*f"trackmllib: {sentence}".split("\n"), err=True)
