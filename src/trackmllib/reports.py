"""Has the reports of searches made, each when its search is over, by a process of its own.

Drawing takes seconds of a processor, and in this process it would hold up the threads of the user.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from trackmllib.names import GridNames
from trackmllib.packing import PIECE_BYTES, FileText, file_text, utf8
from trackmllib.recorder import files
from trackmllib.redaction import looks_secret
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


NO_PYTHON = (
    "The reports of searches are not made, because this program is no Python that could start "
    "another one; everything else is recorded. The command `trackmllib report` makes them, and "
    "autolog(report=False) is silent about it."
)
AT_THE_END = (
    "The report of a search is not made, because the program is at its end. The command "
    "`trackmllib report` makes it."
)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A report to be made. ``runs`` may wait until the runs of the search are on the server;
    ``made`` is called with what ``make`` gives, or ``given_up`` with why there is none.
    """

    result: SearchResult
    runs: Callable[[], Runs]
    made: Callable[[FileText, bytes | None], None]
    given_up: Callable[[str], None]


class Reports:
    """Reports that are still to be made, one after the other, by a thread that waits for them."""

    def __init__(self) -> None:
        self._waiting: deque[Wanted] = deque()
        self._changed = threading.Condition()
        self._running = False

    def add(self, wanted: Wanted) -> str | None:
        """Have a report made; why it will not be, in a sentence, else None."""
        lacking = next((name for name in ("matplotlib", "jinja2") if not _is_there(name)), None)
        if lacking is not None:
            return MISSING.format(lacking)
        if getattr(sys, "frozen", False) or "py" not in Path(sys.executable or "").name.lower():
            return NO_PYTHON
        with self._changed:
            if not self._running:
                thread = threading.Thread(target=self._run, name="trackmllib-reports", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # Python starts no thread any more at its end.
                    return AT_THE_END
                self._running = True
            self._waiting.append(wanted)
        return None

    def wait(self, timeout: float | None) -> int:
        """Wait until all of them are made; how many are not."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running, timeout)
            return len(self._waiting)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._running = False
                    self._changed.notify_all()
                    return
                wanted = self._waiting[0]
            search_id = wanted.result.search_id
            try:
                made = make(wanted.result, wanted.runs())
                wanted.made(*made)
            except Exception as error:
                logger.debug("No report of %s", search_id, exc_info=True)
                wanted.given_up(
                    f"The report of search {search_id} is not made ({_first(error)}); its record "
                    "is complete. The command `trackmllib report` makes one."
                )
            finally:
                with self._changed:
                    self._waiting.popleft()


def make(result: SearchResult, runs: Runs) -> tuple[FileText, bytes | None]:
    """The report of a search as HTML, and its first figure as PNG if it has one, drawn by another
    process.
    """
    grid = GridNames(result.description.candidates)
    with _folder() as folder:
        for file, pieces in (
            (files.SEARCH, [files.search_json(result, grid)]),
            (files.OUTCOME, files.outcome_json(result)),
            ("runs.json", [json.dumps(dataclasses.asdict(runs))]),
        ):
            with folder.joinpath(file).open("wb") as opened:
                opened.writelines(map(utf8, pieces))
        done = subprocess.run(
            [sys.executable, "-m", "trackmllib.report_process", str(folder)],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MOST_SECONDS,
            check=False,
            # A Ctrl-C in the terminal is meant for the program, and not for this.
            start_new_session=True,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise RuntimeError(said[-1] if said else f"exit code {done.returncode}")
        figure = folder / PNG
        with folder.joinpath(HTML).open(encoding="utf-8", newline="") as opened:
            html = file_text(iter(lambda: opened.read(PIECE_BYTES), ""))
        return html, figure.read_bytes() if figure.exists() else None


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is deleted at the end of the context.

    Not a ``TemporaryDirectory``: Python deletes it at the end of the program, while the session may
    still wait for the report that is drawn in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="trackmllib-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment() -> dict[str, str]:
    """That of this process, with its modules, without secrets, and with nothing in it that switches
    recording on.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TRACKMLLIB_") and not looks_secret(name)
    }
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environment


def _is_there(module: str) -> bool:
    return module in sys.modules or find_spec(module) is not None


def _first(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
