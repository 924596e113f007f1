"""Shows how far searches are, from their third second on; a thread of its own draws."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from trackmllib.clock import Clock
from trackmllib.events import Event, SearchFailed, SearchFinished, SearchStarted
from trackmllib.names import GridNames
from trackmllib.search_result import SearchResult
from trackmllib.settings import Settings
from trackmllib.view.bars import Bar, new_bar
from trackmllib.view.shown import look

SHOWN_AFTER_SECONDS = 3.0
DRAWN_EVERY_SECONDS = 0.5
# Between two looks at a search lies so many times what one takes.
RESTS = 20
# The longest that fit() waits for a terminal.
FINISHED_WITHIN_SECONDS = 2.0


class Progress:
    """One bar a search. Spark's threads never wait for a terminal; ``fit()`` does once, at its end.

    The thread is there while a search runs that is to be shown. Before the third second of a search
    it sleeps: nothing is imported or looked at. Nothing here raises, and a search whose bar cannot
    be drawn is shown no more.
    """

    def __init__(self, clock: Clock, every: float = DRAWN_EVERY_SECONDS) -> None:
        self._clock = clock
        self._every = every
        self._changed = threading.Condition()
        self._searches: dict[str, _Followed] = {}
        self._thread: threading.Thread | None = None

    def follow(
        self, event: Event, result: SearchResult, lock: threading.Lock, settings: Settings
    ) -> None:
        """Begin or end the bar of a search where this event does. ``lock`` guards its table."""
        if isinstance(event, SearchStarted):
            if settings.progress and not settings.silent:
                self._begin(result, lock)
        elif isinstance(event, (SearchFinished, SearchFailed)):
            self._end(result.search_id)

    def _begin(self, result: SearchResult, lock: threading.Lock) -> None:
        with self._changed:
            outer = self._searches.get("" if result.parent is None else result.parent.search_id)
            depth = 0 if outer is None else outer.depth + 1
            self._searches[result.search_id] = _Followed(result, lock, depth, self._clock)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="trackmllib-progress", daemon=True)
                # Python starts no thread any more at its end.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _end(self, search_id: str) -> None:
        with self._changed:
            search = self._searches.get(search_id)
            if search is None:
                return
            search.ended = True
            if not search.shown:
                del self._searches[search_id]
            self._changed.notify_all()
        if search.shown:
            search.finished.wait(FINISHED_WITHIN_SECONDS)

    def _run(self) -> None:
        rest = 0.0
        while True:
            with self._changed:
                if not any(search.ended for search in self._searches.values()):
                    self._changed.wait_for(self._is_time_to_draw, max(self._every, rest))
                if not self._searches:
                    self._thread = None
                    return
                due = [search for search in self._searches.values() if search.is_due()]
                ended = [search for search in due if search.ended]
                for search in due:
                    search.shown = True
            began = time.monotonic()
            for search in due:
                search.draw(last=search in ended)
            # Spark's threads wait while a search is looked at, so a large one is looked at seldom.
            rest = RESTS * (time.monotonic() - began)
            with self._changed:
                for search in ended:
                    self._searches.pop(search.result.search_id, None)
                    search.finished.set()

    def _is_time_to_draw(self) -> bool:
        """Before the next half second: when a search has ended, or none is left."""
        searches = self._searches.values()
        return not searches or any(search.ended for search in searches)


class _Followed:
    """A search with its bar. ``shown``: a bar was begun; ``finished``: its last line is drawn."""

    def __init__(
        self, result: SearchResult, lock: threading.Lock, depth: int, clock: Clock
    ) -> None:
        self.result = result
        self.depth = depth
        self.shown = False
        self.ended = False
        self.finished = threading.Event()
        self._lock = lock
        self._clock = clock
        self._began = clock.monotonic()
        self._grid: GridNames | None = None
        self._bar: Bar | None = None
        self._is_broken = False

    def is_due(self) -> bool:
        return self.shown or self._clock.monotonic() - self._began >= SHOWN_AFTER_SECONDS

    def draw(self, *, last: bool) -> None:
        """Draw it, the last time if it has ended; whatever goes wrong is the end of the bar."""
        if self._is_broken:
            return
        try:
            self._draw(last=last)
        except Exception:  # noqa: BLE001 - streams of users, which may raise anything
            self._is_broken = True
            if self._bar is not None:
                with suppress(Exception):
                    self._bar.drop()

    def _draw(self, *, last: bool) -> None:
        if self._grid is None:
            description = self.result.description
            self._grid = GridNames(description.candidates)
            self._bar = new_bar(description.tuner.class_name, self.depth)
        if self._bar is None:
            return
        with self._lock:
            shown = look(self.result, self._grid, self._clock.now_ms())
        if last:
            self._bar.finish(shown)
        else:
            self._bar.draw(shown, self._clock.monotonic())
