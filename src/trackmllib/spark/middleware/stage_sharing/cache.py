"""Cache of the segments of one fold.

The first candidate that needs a segment fits it in its own thread; the others wait. The output
stays cached until the last candidate is done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from pyspark import StorageLevel
from pyspark.ml import Estimator

from trackmllib.spark.middleware.base import FoldCall
from trackmllib.spark.middleware.frames import unpersist_quietly
from trackmllib.spark.middleware.stage_sharing.plan import Plan, Segment, path_to

logger = logging.getLogger(__name__)

# The level of Spark's own DataFrame.cache().
_LEVEL = StorageLevel.MEMORY_AND_DISK_DESER


class FoldCache:
    """Cached segments of one fold.

    :param on_computed: Called with each computed segment, its seconds, and the seconds in between
        that are recorded separately, as nested fits.
    :param warn_once: Called with warnings for the user.
    """

    def __init__(
        self,
        plan: Plan,
        call: FoldCall,
        on_computed: Callable[[Segment, float, float], None],
        warn_once: Callable[[str], None],
    ) -> None:
        self.call = call
        self.on_computed = on_computed
        self.warn_once = warn_once
        self._lock = threading.Lock()
        self._segments: dict[Segment, CachedSegment] = {}
        for segment in plan.segments:
            parent = None if segment.parent is None else self._segments[segment.parent]
            self._segments[segment] = CachedSegment(segment, parent, self)
        self._candidates_left = {segment: len(segment.candidates) for segment in plan.segments}
        self._users = dict.fromkeys(plan.segments, 0)
        # Candidates between acquire() and release().
        self._running: set[int] = set()
        self._done: set[int] = set()
        self._last_segment = plan.last_segment
        self.closed = False

    def acquire(self, candidate: int) -> CachedSegment | None:
        """Return the last segment of a candidate that can be computed, or None.

        Computes it if necessary. Call ``release`` when the fit of the candidate has ended.
        """
        segment = self._last_segment.get(candidate)
        with self._lock:
            if segment is None or self.closed:
                return None
            if candidate not in self._running:
                self._running.add(candidate)
                for one in path_to(segment):
                    self._users[one] += 1
        path = (self._segments[one] for one in path_to(segment))
        return next((one for one in path if one.compute_once()), None)

    def release(self, candidate: int) -> None:
        """Release the segments of a candidate that is done or skipped."""
        with self._lock:
            unused = []
            is_pending = candidate in self._last_segment and candidate not in self._done
            if not is_pending or (self.closed and candidate not in self._running):
                return
            self._done.add(candidate)
            for segment in path_to(self._last_segment[candidate]):
                self._candidates_left[segment] -= 1
                self._users[segment] -= candidate in self._running
                if self._candidates_left[segment] == 0 or (
                    self.closed and not self._users[segment]
                ):
                    unused.append(self._segments[segment])
            self._running.discard(candidate)
            self._break_cycle()
        for cached in unused:
            cached.unpersist()

    def close(self) -> None:
        """Release all segments, those in use when their fits end."""
        with self._lock:
            self.closed = True
            unused = [each for segment, each in self._segments.items() if not self._users[segment]]
            self._break_cycle()
        for cached in unused:
            cached.unpersist()

    def _break_cycle(self) -> None:
        """Break reference cycles, so that models need no garbage collector."""
        if self.closed and not self._running:
            self._segments = {}


class CachedSegment:
    """Fitted models and output of a segment in one fold."""

    def __init__(self, segment: Segment, parent: CachedSegment | None, fold: FoldCache) -> None:
        self.segment = segment
        self.models: list[Any] = []
        self.train: Any = None
        self.validation: Any = None
        self._parent = parent
        self._fold = fold
        self._lock = threading.Lock()
        # None before the first attempt. After a failure, each candidate computes the stages itself.
        self._is_computed: bool | None = None

    def compute_once(self) -> bool:
        """Compute the segment at the first call; return whether that succeeded."""
        if self._parent is not None and not self._parent.compute_once():
            return False
        with self._lock:
            if self._is_computed is None:
                # The user's code runs under this lock, because all waiting threads need its result.
                self._is_computed = False
                start = time.monotonic()
                try:
                    elsewhere = self._compute()
                except Exception:  # noqa: BLE001 - the candidate raises it again, as Spark would
                    pass
                else:
                    self._is_computed = True
                    seconds = time.monotonic() - start - elsewhere
                    self._fold.on_computed(self.segment, seconds, elsewhere)
                finally:
                    if not self._is_computed:
                        self._clear()
            return self._is_computed

    def unpersist(self) -> None:
        """Release the output and the models."""
        with self._lock:
            self._is_computed = False
            self._clear()

    def _compute(self) -> float:
        """Compute the segment; return the seconds that nested fits record."""
        elsewhere = 0.0
        call, parent = self._fold.call, self._parent
        if parent is None:
            train, validation, self.models = call.train, call.validation, []
        else:
            train, validation, self.models = parent.train, parent.validation, [*parent.models]
        extra = call.maps[self.segment.candidates[0]]
        for position, stage in enumerate(self.segment.stages, self.segment.start):
            # Like Pipeline.fit(data, extra) and PipelineModel.transform(data, extra).
            copied = stage.copy(extra)
            model = copied
            if isinstance(copied, Estimator) and call.fit_stage is not None:
                model, seconds = call.fit_stage(copied, train, position)
                elsewhere += seconds
            elif isinstance(copied, Estimator):
                model = copied.fit(train)
            train = model.transform(train)
            validation = model.transform(validation, extra)
            self.models.append(model)
        try:
            # Compute now, so that no candidate's duration includes it.
            self.train = train.persist(_LEVEL)
            self.train.count()
            self.validation = validation.persist(_LEVEL)
            self.validation.count()
        except Exception as error:
            names = ", ".join(type(stage).__name__ for stage in self.segment.stages)
            logger.debug("Cannot cache the output of a segment: %s", error)
            # Spark's message differs each time, which would repeat the warning.
            self._fold.warn_once(
                f"reuse_stages could not cache the output of {names} ({type(error).__name__}), so "
                "each candidate computes it."
            )
            raise
        return elsewhere

    def _clear(self) -> None:
        unpersist_quietly(*(data for data in (self.train, self.validation) if data is not None))
        self.train = self.validation = None
        self.models = []
