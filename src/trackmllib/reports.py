"""Has the reports of searches made, each when its search is over, by a process of its own.

Drawing takes seconds of a processor, and in this process it would hold up the threads of the user.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from trackmllib.names import GridNames
from trackmllib.recorder import files
from trackmllib.search_result import SearchResult
from trackmllib.view.runs import Runs

logger = logging.getLogger(__name__)

MOST_SECONDS = 120.0
HTML = "report.html"
PNG = "report.png"
MISSING = (
    "The reports of searches are not made, because {} is not installed; everything else is "
    'recorded. pip install "trackmllib[report]" brings it, and autolog(report=False) is silent '
    "about it."
)


class Reports:
    """Reports that are still to be made, one after the other. ``made`` is called with each search
    and its report, in the thread that waits for the process; ``say`` with what users should know.
    """

    def __init__(
        self, made: Callable[[SearchResult, str, bytes | None], None], say: Callable[[str], None]
    ) -> None:
        self._made = made
        self._say = say
        self._waiting: deque[tuple[SearchResult, Callable[[], Runs]]] = deque()
        self._changed = threading.Condition()
        self._running = False

    def add(self, result: SearchResult, runs: Callable[[], Runs]) -> bool:
        """Have the report of a search made, that is over; whether it will be. ``runs`` may wait
        until its runs are on the server.
        """
        lacking = next((name for name in ("matplotlib", "jinja2") if not _is_there(name)), None)
        if lacking is not None:
            self._say(MISSING.format(lacking))
            return False
        with self._changed:
            self._waiting.append((result, runs))
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="trackmllib-reports", daemon=True).start()
            return True

    def wait(self, timeout: float | None) -> bool:
        """Wait until all of them are made; whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._running = False
                    self._changed.notify_all()
                    return
                result, runs = self._waiting[0]
            try:
                self._made(result, *make(result, runs()))
            except Exception as error:
                logger.debug("No report of %s", result.search_id, exc_info=True)
                self._say(
                    f"The report of search {result.search_id} is not made ({_first(error)}); its "
                    "record is complete. The command `trackmllib report` makes one"
                )
            finally:
                with self._changed:
                    self._waiting.popleft()


def make(result: SearchResult, runs: Runs) -> tuple[str, bytes | None]:
    """The report of a search as HTML, and its first figure as PNG if it has one, drawn by another
    process.
    """
    grid = GridNames(result.description.candidates)
    with tempfile.TemporaryDirectory(prefix="trackmllib-") as name:
        folder = Path(name)
        for file, text in (
            (files.SEARCH, files.search_json(result, grid)),
            (files.OUTCOME, files.outcome_json(result)),
            ("runs.json", json.dumps(dataclasses.asdict(runs))),
        ):
            folder.joinpath(file).write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "trackmllib.report_process", name],
            cwd=name,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MOST_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise RuntimeError(said[-1] if said else f"exit code {done.returncode}")
        figure = folder / PNG
        html = folder.joinpath(HTML).read_text(encoding="utf-8")
        return html, figure.read_bytes() if figure.exists() else None


def _environment() -> dict[str, str]:
    """That of this process, with its modules, and with nothing in it that switches recording on."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TRACKMLLIB_")
    }
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environment


def _is_there(module: str) -> bool:
    return module in sys.modules or find_spec(module) is not None


def _first(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
