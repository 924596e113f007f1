"""Reads the command line and hands over to the file of the verb."""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Sequence

from trackmllib.cli import drop, install_hook, run, status, sync
from trackmllib.errors import TrackmllibError
from trackmllib.outbox.home import VARIABLE, Home
from trackmllib.version import __version__

_VERBS = (run, install_hook, status, sync, drop)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; its exit code. 2 for a command line or an outbox that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="trackmllib",
        description="Switches recording on without touching the code; and what has been recorded "
        "and the tracking server does not have yet.",
        epilog=f"That lies in the folder that {VARIABLE} names: {Home.of_user().folder}",
    )
    parser.add_argument("--version", action="version", version=f"trackmllib {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in _VERBS:
        verb.add_to(verbs)
    ours, command = run.cut(sys.argv[1:] if arguments is None else arguments)
    given = parser.parse_args(ours, argparse.Namespace(command=command))
    try:
        return int(given.run(given, Home.of_user()))
    except (TrackmllibError, OSError, sqlite3.Error) as error:
        print(f"trackmllib: {error}. Nothing is lost by that.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ntrackmllib: stopped; nothing is lost.", file=sys.stderr)
        return 130
