"""Progress bars of running searches."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from trackmllib.config.settings import Settings
from trackmllib.domain.events import Event, SearchFailed, SearchFinished, SearchStarted
from trackmllib.domain.naming import GridNames
from trackmllib.domain.search_state import SearchState
from trackmllib.reporting.progress.bars import ProgressBar, new_bar
from trackmllib.reporting.progress.status_line import status_line
from trackmllib.support.clock import Clock

SHOW_AFTER_SECONDS = 3.0
DRAW_EVERY_SECONDS = 0.5
# Minimum pause between two drawings, as a multiple of the duration of one.
PAUSE_FACTOR = 20
# The longest that fit() waits for a terminal.
FINISH_WITHIN_SECONDS = 2.0


class Progress:
    """Draws one bar for each search, in a background thread.

    Spark's threads never wait for a terminal; ``fit()`` does once, at its end. Nothing is imported
    or read in the first seconds of a search. No method raises; a bar that cannot be drawn is
    dropped.
    """

    def __init__(self, clock: Clock, every: float = DRAW_EVERY_SECONDS) -> None:
        self._clock = clock
        self._every = every
        self._changed = threading.Condition()
        self._searches: dict[str, _Followed] = {}
        self._thread: threading.Thread | None = None

    def follow(
        self, event: Event, search: SearchState, lock: threading.Lock, settings: Settings
    ) -> None:
        """Start or end the bar of a search with its first or last event.

        :param lock: Guards the state of the search.
        """
        if isinstance(event, SearchStarted):
            if settings.progress and not settings.silent:
                self._begin(search, lock)
        elif isinstance(event, (SearchFinished, SearchFailed)):
            self._end(search.search_id)

    def _begin(self, search: SearchState, lock: threading.Lock) -> None:
        with self._changed:
            outer = self._searches.get("" if search.parent is None else search.parent.search_id)
            depth = 0 if outer is None else outer.depth + 1
            self._searches[search.search_id] = _Followed(search, lock, depth, self._clock)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="trackmllib-progress", daemon=True)
                # Python starts no threads at its exit.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _end(self, search_id: str) -> None:
        with self._changed:
            followed = self._searches.get(search_id)
            if followed is None:
                return
            followed.ended = True
            if not followed.shown:
                del self._searches[search_id]
            self._changed.notify_all()
        if followed.shown:
            followed.finished.wait(FINISH_WITHIN_SECONDS)

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                if not any(followed.ended for followed in self._searches.values()):
                    self._changed.wait_for(self._is_urgent, max(self._every, pause))
                if not self._searches:
                    self._thread = None
                    return
                due = [followed for followed in self._searches.values() if followed.is_due()]
                ended = [followed for followed in due if followed.ended]
                for followed in due:
                    followed.shown = True
            began = time.monotonic()
            for followed in due:
                followed.draw(last=followed in ended)
            # Reading a large state blocks Spark's threads, so it is drawn less often.
            pause = PAUSE_FACTOR * (time.monotonic() - began)
            with self._changed:
                for followed in ended:
                    self._searches.pop(followed.search.search_id, None)
                    followed.finished.set()

    def _is_urgent(self) -> bool:
        """Whether a search has ended, or none is left."""
        searches = self._searches.values()
        return not searches or any(followed.ended for followed in searches)


class _Followed:
    """A search and its bar; ``finished`` is set when the last state is drawn."""

    def __init__(self, search: SearchState, lock: threading.Lock, depth: int, clock: Clock) -> None:
        self.search = search
        self.depth = depth
        self.shown = False
        self.ended = False
        self.finished = threading.Event()
        self._lock = lock
        self._clock = clock
        self._began = clock.monotonic()
        self._grid: GridNames | None = None
        self._bar: ProgressBar | None = None
        self._is_broken = False

    def is_due(self) -> bool:
        return self.shown or self._clock.monotonic() - self._began >= SHOW_AFTER_SECONDS

    def draw(self, *, last: bool) -> None:
        """Draw the bar, unless an earlier drawing failed."""
        if self._is_broken:
            return
        try:
            self._draw(last=last)
        except Exception:  # noqa: BLE001 - the user's stream may raise anything
            self._is_broken = True
            if self._bar is not None:
                with suppress(Exception):
                    self._bar.drop()

    def _draw(self, *, last: bool) -> None:
        if self._grid is None:
            description = self.search.description
            self._grid = GridNames(description.candidates)
            self._bar = new_bar(description.tuner.class_name, self.depth)
        if self._bar is None:
            return
        with self._lock:
            line = status_line(self.search, self._grid, self._clock.now_ms())
        if last:
            self._bar.finish(line)
        else:
            self._bar.draw(line, self._clock.monotonic())
