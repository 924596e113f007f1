"""Watches one cell, from the start of its fit to its score or its error."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from trackmllib.events import Place
from trackmllib.settings import Settings
from trackmllib.spark import before_calls
from trackmllib.spark.interventions import Timer

if TYPE_CHECKING:
    from trackmllib.spark.watch import SearchWatch


class CellWatch:
    """One cell, as a context around the task that Spark runs in a thread of its pool.

    The candidate is known when its fit begins, or, from an estimator that hands out its models in
    an order of its own, when the model is there.
    """

    def __init__(self, search: SearchWatch, fold: int, spark_loops: bool) -> None:
        self.search_id = search.search_id
        self.fold = fold
        self.spark_loops = spark_loops
        self.candidate: int | None = None
        self._search = search
        self.jobs = search.spending.jobs.cell(of_pool=spark_loops)
        self._doing = ""
        # Of an intervention that gives it so much time and no more.
        self.timer: Timer | None = None

    def __enter__(self) -> CellWatch:
        self.begins()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        before_calls.drop()
        if error is not None and self.candidate is not None:
            with self._search.guard("recording the failure of a cell"):
                self._search.cell_failed(self.candidate, self.fold, error)
        with self._search.guard("taking the labels off Spark's jobs"):
            self.jobs.stop()
            self._search.spending.cell_is_over(self)

    @property
    def settings(self) -> Settings:
        return self._search.settings

    @property
    def place(self) -> Place:
        """Where a search is that begins in this cell."""
        return Place(search_id=self.search_id, candidate=self.candidate, fold=self.fold)

    @property
    def is_over(self) -> bool:
        """Whether the search of this cell has ended, with an error that another cell raised."""
        return self._search.has_ended

    def pauses(self) -> None:
        """What follows is no part of it."""
        if self.timer is not None:
            self.timer.stop()

    def begins(self) -> None:
        """From now on, time is this cell's own."""
        if self.timer is not None:
            self.timer.restart()
        clock = self._search.clock
        self._start_ms = clock.now_ms()
        self._start = clock.monotonic()

    def fits_unknown(self) -> None:
        """A fit begins whose candidate is known only from its model."""
        self._label_jobs("")

    def started(self, candidate: int) -> None:
        """The candidate of this cell is known."""
        if candidate == self.candidate:
            # It is tried again.
            return
        with self._search.guard("recording the start of a cell"):
            self.candidate = candidate
            self._search.cell_started(candidate, self.fold, self._start_ms)
        self._label_jobs("fit")

    def check_time(self) -> None:
        """Raises where its time is up, before that can be scored which has failed."""
        if self.timer is not None:
            self.timer.check()

    def fitted(self, model: Any, data: Any) -> None:
        """The model of this cell is there, fitted on this data."""
        clock = self._search.clock
        self._fit_seconds = clock.monotonic() - self._start
        self._search.fitted(self, model, data)
        self._label_jobs("evaluate")
        self._evaluation = clock.monotonic()

    def scored(self, score: Any, counts_as: float | None = None) -> None:
        """The evaluator returned this score, and Spark is told it, or ``counts_as``."""
        before_calls.drop()
        with self._search.guard("recording a score"):
            if self.candidate is None:
                return
            seconds = self._search.clock.monotonic() - self._evaluation
            self._search.cell_scored(self, score, self._fit_seconds, seconds, counts_as)

    def tried(self, tries: int, error: BaseException) -> None:
        """It has failed, and is tried again."""
        with self._search.guard("recording another try of a cell"):
            if self.candidate is not None:
                self._search.cell_retried(self.candidate, self.fold, tries, error)
        self.begins()

    def skipped(self, candidate: int, error: Exception | None, counts_as: float) -> None:
        """The search goes on without the score of a candidate, whose cell this is."""
        with self._search.guard("recording that a candidate is skipped"):
            self._search.skipped(self, candidate, error, counts_as)

    def _label_jobs(self, doing: str) -> None:
        """Say on Spark's page whose the next jobs are, and what for, if any job is started."""
        self._doing = doing
        if self._search.spending.jobs.context is not None:
            before_calls.put_off(self._label)

    def _label(self) -> None:
        with self._search.guard("labelling Spark's jobs"):
            words = [] if self.candidate is None else self._search.words(self.candidate, self.fold)
            self.jobs.label([*words, self._doing] if words else [])
