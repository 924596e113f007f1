"""What the verbs that read from a server have in common: their options, and what they open."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackmllib.loading import Loaded
    from trackmllib.tracking.reading import Reader

RUN_HELP = (
    "id of a run or the beginning of one, name of a run, or id of a search; a child run leads to "
    "its main run"
)


def whole_number(least: int) -> Callable[[str], int]:
    """Takes whole numbers from ``least`` on, and says so of what is none."""

    def taken(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return number

    return taken


def add_server(parser: Any) -> None:
    parser.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="the server to read from; without it MLFLOW_TRACKING_URI, or where MLflow would look",
    )


def add_search(parser: Any) -> None:
    parser.add_argument(
        "--search",
        metavar="ID",
        help="which search, or the beginning of its id, where several are in one run",
    )


def reader(given: argparse.Namespace) -> Reader:
    # Not before: mlflow takes a second to load.
    from trackmllib.tracking.reading import Reader

    return Reader(given.tracking_uri)


def loaded(
    given: argparse.Namespace,
    *,
    costs: Collection[str],
    leave_out: Callable[[str], None] | None = None,
) -> list[Loaded]:
    """The searches of the given run, oldest first, with these costs of those that run.

    ``leave_out`` is that of ``load_all``.
    """
    from trackmllib.loading import load_all

    return load_all(reader(given), given.run_name, given.search, costs=costs, leave_out=leave_out)
