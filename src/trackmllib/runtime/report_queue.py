"""Queue of reports, which a background thread creates one by one."""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from trackmllib.domain.search_state import SearchState
from trackmllib.reporting.run_links import RunLinks
from trackmllib.runtime.report_process import create_report
from trackmllib.support import formatting
from trackmllib.support.compression import FileText

logger = logging.getLogger(__name__)

_MISSING_PACKAGE = (
    "Reports are not created, because {} is not installed; the records are complete. Run "
    '`pip install "trackmllib[report]"`, or set autolog(report=False) to turn this warning off.'
)
_NO_INTERPRETER = (
    "Reports are not created, because sys.executable is not a Python interpreter; the records are "
    "complete. `trackmllib report` creates them; autolog(report=False) turns this warning off."
)
_EXITING = (
    "The report of a search is not created, because the program exits; the record is complete. "
    "`trackmllib report` creates it."
)


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """Request to create a report.

    ``run_links`` may wait until the server has created the runs. At the end, ``log`` is called with
    the HTML page and the figure, or ``give_up`` with a warning.
    """

    state: SearchState
    run_links: Callable[[], RunLinks]
    log: Callable[[FileText, bytes | None], None]
    give_up: Callable[[str], None]


class ReportQueue:
    """Requested reports; the thread runs only while there are any."""

    def __init__(self) -> None:
        self._requests: deque[ReportRequest] = deque()
        self._changed = threading.Condition()
        self._running = False

    def add(self, request: ReportRequest) -> str | None:
        """Request a report; return a warning if it cannot be created."""
        missing = next((name for name in ("matplotlib", "jinja2") if not _is_available(name)), None)
        if missing is not None:
            return _MISSING_PACKAGE.format(missing)
        if getattr(sys, "frozen", False) or "py" not in Path(sys.executable or "").name.lower():
            return _NO_INTERPRETER
        with self._changed:
            if not self._running:
                thread = threading.Thread(target=self._run, name="trackmllib-reports", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    # Python starts no threads while it shuts down.
                    return _EXITING
                self._running = True
            self._requests.append(request)
        return None

    def wait(self, timeout: float | None) -> int:
        """Wait until the queue is empty; return the number of reports left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running, timeout)
            return len(self._requests)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._requests:
                    self._running = False
                    self._changed.notify_all()
                    return
                request = self._requests[0]
            search_id = request.state.search_id
            try:
                request.log(*create_report(request.state, request.run_links()))
            except Exception as error:
                logger.debug("No report of %s", search_id, exc_info=True)
                reason = formatting.error_summary(error)
                request.give_up(
                    f"The report of search {search_id} could not be created ({reason}); the record "
                    "is complete. `trackmllib report` creates it."
                )
            finally:
                with self._changed:
                    self._requests.popleft()


def _is_available(module: str) -> bool:
    return module in sys.modules or find_spec(module) is not None
