"""Creation of a report in a separate process.

Drawing in the driver would slow the user's threads down. ``create_report`` starts ``python -m
trackmllib.runtime.report_process FOLDER``. That process reads ``search.json``, ``outcome.json`` and
``runs.json`` (the fields of ``RunLinks``) in the folder. It writes ``report.html`` and, if there is
a first figure, ``report.png``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trackmllib.domain.search_state import SearchState
from trackmllib.recorder import artifacts
from trackmllib.recorder.artifact_reader import read_state
from trackmllib.reporting.run_links import RunLinks
from trackmllib.support.compression import PIECE_BYTES, FileText, file_text, utf8
from trackmllib.support.redaction import looks_secret

TIMEOUT_SECONDS = 120.0
RUNS = "runs.json"
REPORT = "report.html"
FIGURE = "report.png"


def create_report(state: SearchState, run_links: RunLinks) -> tuple[FileText, bytes | None]:
    """Create the report of a search in another process.

    :returns: The HTML page, and the first figure as PNG or None.
    :raises RuntimeError: The process failed; the message is its last line on standard error.
    """
    with _temporary_folder() as folder:
        for name, pieces in (
            (artifacts.SEARCH, [artifacts.search_json(state)]),
            (artifacts.OUTCOME, artifacts.outcome_json(state)),
            (RUNS, [json.dumps(dataclasses.asdict(run_links))]),
        ):
            with folder.joinpath(name).open("wb") as file:
                file.writelines(map(utf8, pieces))
        process = subprocess.run(
            [sys.executable, "-m", __name__, str(folder)],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            # Ctrl-C in the terminal must not reach this process.
            start_new_session=True,
        )
        if process.returncode != 0:
            lines = process.stderr.decode(errors="replace").strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"exit code {process.returncode}")
        figure = folder / FIGURE
        with folder.joinpath(REPORT).open(encoding="utf-8", newline="") as file:
            html = file_text(iter(lambda: file.read(PIECE_BYTES), ""))
        return html, figure.read_bytes() if figure.exists() else None


def write_report(folder: Path) -> None:
    """Write the report of the search whose files are in a folder.

    :param folder: ``outcome.json`` and ``runs.json`` in it are optional.
    :raises DependencyError: jinja2 or matplotlib is missing.
    """
    # Imported late, because only the separate process draws.
    from trackmllib.reporting import report
    from trackmllib.reporting.figures.context import NothingToDraw, SearchContext

    outcome, runs = folder / artifacts.OUTCOME, folder / RUNS
    state = read_state(
        (folder / artifacts.SEARCH).read_text(encoding="utf-8"),
        outcome.read_text(encoding="utf-8") if outcome.exists() else None,
    )
    run_links = _run_links(runs.read_text(encoding="utf-8")) if runs.exists() else RunLinks()
    context = SearchContext(state)
    _write(folder / REPORT, report.html(context, run_links).encode())
    try:
        _write(folder / FIGURE, report.png(context))
    except NothingToDraw:
        return


def _run_links(text: str) -> RunLinks:
    fields = json.loads(text)
    # JSON has no integer keys.
    children = {int(index): run_id for index, run_id in fields.pop("children", {}).items()}
    return RunLinks(**fields, children=children)


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content)
    os.replace(temporary, path)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Context with a folder that is deleted at its end.

    Python deletes a ``TemporaryDirectory`` at exit, when the session may still wait for the report.
    """
    folder = Path(tempfile.mkdtemp(prefix="trackmllib-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """Environment of this process without secrets and our options."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TRACKMLLIB_") and not looks_secret(name)
    }
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environment


if __name__ == "__main__":
    # The training has priority.
    if hasattr(os, "nice"):
        os.nice(10)
    write_report(Path(sys.argv[1]))
