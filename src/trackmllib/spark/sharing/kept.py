"""What is computed for several candidates of a fold: the models of their segments, and their data.

A segment is fitted when the first of its candidates needs it, in the thread of that one; the others
wait. Its output is kept until the last of its candidates is done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from pyspark import StorageLevel
from pyspark.ml import Estimator

from trackmllib.spark.interventions import let_go
from trackmllib.spark.sharing.plan import Plan, Segment, path_to

logger = logging.getLogger(__name__)

# What Spark's own cache() takes for data frames.
_LEVEL = StorageLevel.MEMORY_AND_DISK_DESER


class KeptFold:
    """The segments of one fold. ``told`` is called with each one that was computed, and how many
    seconds that took; ``say`` with a line for the user.
    """

    def __init__(
        self,
        plan: Plan,
        maps: Sequence[Any],
        train: Any,
        validation: Any,
        monotonic: Callable[[], float],
        told: Callable[[Segment, float], None],
        say: Callable[[str], None],
    ) -> None:
        self.maps = maps
        self.train = train
        self.validation = validation
        self.monotonic = monotonic
        self.told = told
        self.say = say
        self._lock = threading.Lock()
        self._segments: dict[Segment, KeptSegment] = {}
        for segment in plan.segments:
            parent = None if segment.parent is None else self._segments[segment.parent]
            self._segments[segment] = KeptSegment(segment, parent, self)
        self._left = {segment: len(segment.candidates) for segment in plan.segments}
        self._in_use = dict.fromkeys(plan.segments, 0)
        # Candidates between take() and done().
        self._at_work: set[int] = set()
        self._done: set[int] = set()
        self._last = plan.last_segment
        self.closed = False

    def take(self, candidate: int) -> KeptSegment | None:
        """What a candidate begins with, computed now if it is not there; None if it has nothing in
        common with others, or none of that could be computed. Followed by ``done``.
        """
        segment = self._last.get(candidate)
        with self._lock:
            if segment is None or self.closed:
                return None
            if candidate not in self._at_work:
                self._at_work.add(candidate)
                for one in path_to(segment):
                    self._in_use[one] += 1
        # Where the last of its segments cannot be computed, from the one before.
        kept = (self._segments[one] for one in path_to(segment))
        return next((one for one in kept if one.is_there()), None)

    def done(self, candidate: int) -> None:
        """The cell of a candidate is over, or is not computed."""
        with self._lock:
            over = []
            is_known = candidate in self._last and candidate not in self._done
            if not is_known or (self.closed and candidate not in self._at_work):
                return
            self._done.add(candidate)
            for segment in path_to(self._last[candidate]):
                self._left[segment] -= 1
                self._in_use[segment] -= candidate in self._at_work
                if self._left[segment] == 0 or (self.closed and not self._in_use[segment]):
                    over.append(self._segments[segment])
            self._at_work.discard(candidate)
            self._forget()
        for kept in over:
            kept.release()

    def close(self) -> None:
        """Keep nothing that no cell is using, and let the others go as their cells end."""
        with self._lock:
            self.closed = True
            over = [kept for segment, kept in self._segments.items() if not self._in_use[segment]]
            self._forget()
        for kept in over:
            kept.release()

    def _forget(self) -> None:
        """Be no circle with the segments, where nothing will be asked of them any more."""
        if self.closed and not self._at_work:
            self._segments = {}


class KeptSegment:
    """The models of a segment in one fold, and its output."""

    def __init__(self, segment: Segment, parent: KeptSegment | None, fold: KeptFold) -> None:
        self.segment = segment
        self.models: list[Any] = []
        self.train: Any = None
        self.validation: Any = None
        self._parent = parent
        self._fold = fold
        self._lock = threading.Lock()
        # None while it is not computed; False if it cannot be, and each candidate goes its own way.
        self._there: bool | None = None

    def is_there(self) -> bool:
        """Whether it is computed; now, if it was not."""
        if self._parent is not None and not self._parent.is_there():
            return False
        with self._lock:
            if self._there is None:
                # User's code runs under this lock: others that wait have nothing else to do.
                self._there = False
                began = self._fold.monotonic()
                try:
                    self._compute()
                except Exception:  # noqa: BLE001 - the candidate raises it again, as Spark would
                    pass
                else:
                    self._there = True
                    self._fold.told(self.segment, self._fold.monotonic() - began)
                finally:
                    if not self._there:
                        self._let_go()
            return self._there

    def release(self) -> None:
        """Keep it no longer."""
        with self._lock:
            self._there = False
            self._let_go()

    def _compute(self) -> None:
        fold, parent = self._fold, self._parent
        if parent is None:
            train, validation, self.models = fold.train, fold.validation, []
        else:
            train, validation, self.models = parent.train, parent.validation, [*parent.models]
        extra = fold.maps[self.segment.candidates[0]]
        for stage in self.segment.stages:
            # As Pipeline.fit(data, extra) does it, and transform(data, extra) of its model.
            own = stage.copy(extra)
            model = own.fit(train) if isinstance(own, Estimator) else own
            train = model.transform(train)
            validation = model.transform(validation, extra)
            self.models.append(model)
        try:
            # Computed now, so that this is in the seconds of no candidate.
            self.train = train.persist(_LEVEL)
            self.train.count()
            self.validation = validation.persist(_LEVEL)
            self.validation.count()
        except Exception as error:
            names = ", ".join(type(stage).__name__ for stage in self.segment.stages)
            logger.debug("Not kept: %s", error)
            # Without Spark's words, which are others each time: it is said once.
            fold.say(
                f"reuse_stages could not keep what comes of {names} ({type(error).__name__}), so "
                "each candidate computes it for itself."
            )
            raise

    def _let_go(self) -> None:
        let_go(*(data for data in (self.train, self.validation) if data is not None))
        self.train = self.validation = None
        self.models = []
