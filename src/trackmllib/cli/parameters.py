"""Arguments and options that several commands share."""

from __future__ import annotations

import math
from typing import Any

import click

RUN_EPILOG = (
    "RUN is the id of a run or its beginning, the name of a run, or the id of a search. A child "
    "run leads to its parent run."
)


class Seconds(click.FloatRange):
    """Finite number of seconds."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


run = click.argument("run", metavar="RUN")
tracking_uri = click.option(
    "--tracking-uri",
    metavar="URI",
    help="Tracking server. Default: MLFLOW_TRACKING_URI, or MLflow's own default.",
)
search = click.option(
    "--search",
    "search_id",
    metavar="SEARCH_ID",
    help="One of several searches in the run, by its id or the beginning of it.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
open_report = click.option(
    "--open", "open_report", is_flag=True, help="Open the report in the browser."
)
