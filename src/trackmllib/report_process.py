"""``python -m trackmllib.report_process FOLDER``: the report of a search, made of its files.

A process of its own, so that drawing takes nothing from the driver that trains. It reads
``search.json``, ``outcome.json`` and ``runs.json`` (the fields of ``Runs``) in the folder and
writes ``report.html`` and, where there is a first figure, ``report.png`` there. It prints nothing.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from trackmllib.recorder import files
from trackmllib.recorder.read_back import search_result
from trackmllib.view import report
from trackmllib.view.figures.basis import NothingToDraw
from trackmllib.view.results import Results
from trackmllib.view.runs import Runs

RUNS = "runs.json"
REPORT = "report.html"
FIGURE = "report.png"


def make(folder: Path) -> None:
    """Write the report of the search whose files are in the folder.

    ``outcome.json`` and ``runs.json`` may be missing. DependencyError without jinja2 or matplotlib.
    """
    outcome, runs = folder / files.OUTCOME, folder / RUNS
    search = search_result(
        (folder / files.SEARCH).read_text(encoding="utf-8"),
        outcome.read_text(encoding="utf-8") if outcome.exists() else None,
    )
    known = _runs(runs.read_text(encoding="utf-8")) if runs.exists() else Runs()
    results = Results(search, lambda: known)
    _write(folder / REPORT, report.html(results).encode())
    try:
        _write(folder / FIGURE, report.png(results))
    except NothingToDraw:
        return


def _runs(text: str) -> Runs:
    data = json.loads(text)
    children = {int(index): run_id for index, run_id in data.get("children", {}).items()}
    return Runs(
        tracking_uri=data.get("tracking_uri"),
        experiment_id=data.get("experiment_id"),
        main=data.get("main"),
        children=children,
    )


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing: who waits for the file never sees half of it."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    os.replace(beside, path)


if __name__ == "__main__":
    # The training comes first.
    if hasattr(os, "nice"):
        os.nice(10)
    make(Path(sys.argv[1]))
