"""``trackmllib stop``: have a search that runs somewhere begin no more cells."""

from __future__ import annotations

import argparse
from typing import Any

from trackmllib.cli import reading, terminal
from trackmllib.outbox.home import Home


def add_to(verbs: Any) -> None:
    parser = verbs.add_parser(
        "stop",
        help="have a running search begin no more cells; what is scored is recorded",
        description="Sets the tag trackmllib.stop on the main run, as one can on MLflow's page. "
        "The search sees it within seconds, waits for the cells that run, and fit() raises "
        "trackmllib.SearchStopped. autolog(resume=True) goes on there.",
    )
    parser.add_argument("run_name", metavar="RUN", help=reading.RUN_HELP)
    reading.add_server(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, home: Home) -> int:
    """0 when it is asked; 1 when there is nothing that could be."""
    from trackmllib.tracking.lookup import find
    from trackmllib.tracking.main_run import STOP

    server = reading.reader(given)
    main = find(server, given.run_name).main
    name = main.name
    if "trackmllib.parent_search_id" in main.tags:
        terminal.echo(
            f"Run {main.run_id} ({name}) is a search inside of another one: stop that one."
        )
        return 1
    if main.status != "RUNNING":
        terminal.echo(f"Run {main.run_id} ({name}) is {main.status}: there is nothing to stop.")
        return 1
    server.set_tag(main.run_id, STOP, "true")
    terminal.echo(
        f"Run {main.run_id} ({name}) is asked to stop. It ends as KILLED as soon as the cells that "
        "run now are done."
    )
    return 0
