"""Watches one search, and says what happens to them as events.

A watch is told by the seam what Spark does; it measures the times, knows which fold and candidate
it was, and stays silent once the search has ended, whatever threads of Spark still run.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Any

from pyspark.ml.base import Model

from trackmllib.clock import Clock
from trackmllib.errors import SearchStopped
from trackmllib.events import (
    CandidateScored,
    CellFailed,
    CellRetried,
    CellScored,
    CellStarted,
    CellTakenUp,
    Earlier,
    Event,
    Failure,
    FoldKeyed,
    Place,
    RefitStarted,
    SearchDescription,
    SearchFailed,
    SearchFinished,
    SearchKeyed,
    SearchStarted,
    SharedStages,
    StagesComputed,
)
from trackmllib.guard import Guard, attempt
from trackmllib.names import GridNames, child_run
from trackmllib.redaction import of_traceback, without_credentials
from trackmllib.settings import Settings
from trackmllib.spark.cell import CellWatch
from trackmllib.spark.costs import Costs
from trackmllib.spark.host import Host
from trackmllib.spark.scores import average_and_deviation, results_of, winner
from trackmllib.spark.spent import SearchSpending
from trackmllib.stored_score import EarlierScores


class SearchWatch:
    """One ``fit()`` of a tuner, as a context around Spark's own call.

    ``place`` is where in another search it is. ``describe`` is called when the search begins, with
    the grid that Spark is about to use or None, and whether it is Spark's own loop that begins;
    ``choose`` at its end, with the model, that grid, and the winner by Spark's rule.
    ``delegates``: a ``fit`` that may hand the search on to the one of its base class; then the
    watch is ``superseded``, and silent.
    """

    def __init__(
        self,
        host: Host,
        search_id: str,
        tuner: Any,
        place: Place | None,
        describe: Callable[[Any, bool], SearchDescription],
        choose: Callable[[Any, Any, int], int | None],
        costs: Costs,
        data: Any,
        *,
        settings: Settings,
        delegates: bool = False,
    ) -> None:
        self.search_id = search_id
        self.tuner = tuner
        self.place = place
        self.settings = settings
        self.begun = False
        self.superseded = False
        self.spending = SearchSpending(
            search_id, costs, host.clock, self._emit_costs, data, is_inner=place is not None
        )
        self.data = data
        self.is_inner = place is not None
        self._delegates = delegates
        self._host = host
        self._describe = describe
        self._choose = choose
        self._start_ms = host.clock.now_ms()
        self._lock = threading.Lock()
        self._description: SearchDescription | None = None
        self._ended = False
        self._model: Any = None
        # Entered when Spark has returned, and left at the end of fit().
        self._at_end = ExitStack()
        self._at_end_begun = False
        self._folds = 0
        self._scores: dict[int, list[tuple[int, Any]]] = {}
        self._cells = 0
        self._maps: Any = None
        self._refit_start: float | None = None
        self._refit_seconds: float | None = None
        self._refitted: int | None = None
        # What the last cell of each candidate has taken.
        self.seconds: dict[int, float] = {}
        # Of the threads that compute cells, in the order in which they came.
        self._threads: dict[int, int] = {}
        # How many cells are computed now.
        self._computing = 0
        self._stopped = False
        self._cells_change = threading.Condition()
        # Candidates that were skipped, and those that an intervention has Spark pass over.
        self._failed: set[int] = set()
        self.cannot_win: set[int] = set()

    def begin(self, maps: Any = None, *, spark_loops: bool = False) -> None:
        """Say that the search has started, on this grid if it is known; later calls do nothing."""
        if self.begun:
            return
        self.begun = True
        self._maps = maps
        with self.guard("describing the search"):
            self._description = self._describe(maps, spark_loops)
            self._grid = GridNames(self._description.candidates)
            self._host.emit(
                SearchStarted(
                    search_id=self.search_id,
                    time_ms=self._start_ms,
                    description=self._description,
                    parent=self.place,
                ),
                self.settings,
            )
            with self.guard("remembering the tuner"):
                self._host.remember(self.search_id, self.tuner)

    def returned(self, model: Any, data: Any) -> None:
        """Spark's call returned this model of this data."""
        self._model = model
        if self._refit_start is not None:
            self._refit_seconds = self.clock.monotonic() - self._refit_start
        if not self.superseded:
            self.begin()
            self._hold_interrupt()
        if self.superseded or self.place is not None or self.settings.log_models == "none":
            return
        with self.guard("logging the best model"):
            self._host.keep_model(self.search_id, None, None, model.bestModel, data)

    def _hold_interrupt(self) -> None:
        """From now on, have Ctrl-C end our wait and not the user's call."""
        if not self._at_end_begun:
            self._at_end_begun = True
            self._at_end.enter_context(self._host.hold_interrupt(self.search_id))

    def fitted(self, cell: CellWatch, model: Any, data: Any) -> None:
        """A cell has its model."""
        if self.place is not None or self.settings.log_models != "all" or cell.candidate is None:
            return
        with self.guard("logging the model of a cell"):
            self._host.keep_model(self.search_id, cell.candidate, cell.fold, model, data)

    def next_fold(self, maps: Any, *, spark_loops: bool) -> Callable[[], CellWatch] | None:
        """A fold begins, on this grid: what makes the watches of its cells.

        None if it is not the grid of the search, which had begun.

        ``spark_loops``: the fold is made by Spark's own ``_fit``, whose rules we know.
        """
        self.begin(maps, spark_loops=spark_loops)
        if self._maps is None:
            self._maps = maps
        if maps is not self._maps and not attempt(lambda: list(maps) == list(self._maps), False):
            return None
        with self.guard("labelling Spark's jobs"):
            self.spending.jobs.fold_starts()
        fold = self._folds
        self._folds += 1
        planned = 0 if self._description is None else self._description.folds
        return partial(CellWatch, self, fold, spark_loops and fold < planned)

    def shared(self, fold: int, shared: SharedStages, seconds: float) -> None:
        """Stages were computed for several candidates at once."""
        with self.guard("recording stages that are shared"):
            self._emit(
                StagesComputed(
                    search_id=self.search_id,
                    time_ms=self.clock.now_ms(),
                    fold=fold,
                    shared=shared,
                    seconds=seconds,
                )
            )

    def keyed(self, family: str, seeds: Mapping[str, int]) -> None:
        """By what later searches find the scores of this one."""
        self._emit(
            SearchKeyed(
                search_id=self.search_id,
                time_ms=self.clock.now_ms(),
                family=family,
                seeds=tuple(seeds.items()),
            )
        )

    def fold_keyed(
        self, fold: int, keys: Sequence[str], candidates: Sequence[str], parts: Mapping[str, str]
    ) -> None:
        """The keys of the fits of a fold, and what they are made of."""
        self._emit(
            FoldKeyed(
                search_id=self.search_id,
                time_ms=self.clock.now_ms(),
                fold=fold,
                keys=tuple(keys),
                candidates=tuple(candidates),
                parts=tuple(parts.items()),
            )
        )

    def earlier(self, family: str, keys: Collection[str]) -> EarlierScores:
        """Scores of earlier searches of this family."""
        return self._host.earlier(self.search_id, family, keys)

    def say(self, sentence: str) -> None:
        self._host.say_once(sentence)

    def tell(self, sentence: str) -> None:
        self._host.tell(sentence, self.settings)

    @property
    def folds_begun(self) -> int:
        return self._folds

    def guard(self, doing: str) -> Guard:
        return self._host.guard(self.search_id, doing)

    def is_of(self, tuner: Any) -> bool:
        """Whether a tuner is the one of this search, or a copy of it."""
        return tuner is self.tuner or attempt(lambda: bool(tuner.uid == self.tuner.uid), False)

    def is_delegated_to(self, tuner: Any) -> bool:
        """Whether this search is the one of the ``fit`` of this tuner that is called now."""
        return self._delegates and not self.begun and self.is_of(tuner)

    def begin_with_own_grid(self) -> bool:
        """Begin before the first fold, because a search inside of it begins; whether it has a grid
        by which it can be described.
        """
        if not self.begun:
            maps = attempt(lambda: self.tuner.getEstimatorParamMaps(), None)
            if maps:
                self.begin(maps)
        return self.begun

    @property
    def has_folds(self) -> bool:
        return self._folds > 0

    @property
    def inner_place(self) -> Place:
        """Where a search is that begins in ``fit()``, and in no cell."""
        return Place(search_id=self.search_id, refit=self._refit_start is not None)

    @property
    def has_ended(self) -> bool:
        return self._ended

    @property
    def clock(self) -> Clock:
        return self._host.clock

    def __enter__(self) -> SearchWatch:
        with self.guard("labelling Spark's jobs"):
            self.spending.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not self.superseded:
            self._hold_interrupt()
        with self._at_end:
            try:
                with self.guard("taking the labels off Spark's jobs"):
                    self.spending.jobs.stop()
            finally:
                try:
                    if not self.superseded:
                        self._end(error)
                    if isinstance(error, SearchStopped) and error.results is None:
                        with self.guard("handing out the results"):
                            error.results = self._host.results(self.tuner)
                finally:
                    self.spending.forget()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """A cell is computed. Where somebody has asked for the end of the search, it is not:
        SearchStopped, as soon as those that are computed already are done.
        """
        with self._cells_change:
            # Spark's pool goes on with its queue, also when nobody knows of the search any more.
            self._stopped = self._stopped or self._host.stop_asked(self.search_id)
            if self._stopped:
                self._cells_change.wait_for(lambda: self._computing == 0)
                raise SearchStopped(
                    "somebody has asked for the end of the search; autolog(resume=True) goes on "
                    "with the scores that it has"
                )
            self._computing += 1
        try:
            yield
        finally:
            with self._cells_change:
                self._computing -= 1
                self._cells_change.notify_all()

    def _end(self, error: BaseException | None) -> None:
        """Say what the search cost, and how it ended."""
        self.begin()
        with self._lock:
            self._ended = True
        now = self._host.clock.now_ms()
        if error is None or isinstance(error, Exception):
            try:
                with self.guard("reading what Spark's jobs cost"):
                    self.spending.say_all(self._start_ms, now)
            except BaseException as raised:
                # A Ctrl-C in these moments goes on to the user, and the search ends with it; an
                # error of ours, which strict mode raises, is no end of the search.
                self._emit_end(now, error if isinstance(raised, Exception) else raised)
                raise
        self._emit_end(now, error)

    def _emit_end(self, now: int, error: BaseException | None) -> None:
        with self.guard("recording the end of the search"):
            if self._description is None:
                return
            if error is not None:
                self._host.emit(
                    SearchFailed(
                        search_id=self.search_id, time_ms=now, failure=_failure_from(error)
                    )
                )
                return
            averages, deviations = results_of(self._model, self._description.averaged)
            best = self._winner(averages)
            model, self._model = self._model, None
            with self.guard("remembering the model"):
                self._host.remember(self.search_id, model)
            self._host.emit(
                SearchFinished(
                    search_id=self.search_id,
                    time_ms=now,
                    refit_seconds=self._refit_seconds,
                    averages=averages,
                    deviations=deviations,
                    best=best,
                )
            )
            if isinstance(model, Model):
                self._host.returns(self.search_id, model)

    def words(self, candidate: int, fold: int) -> list[str]:
        """A cell as people read it: its params, and its fold where there are several."""
        if self._description is None:
            return []
        words = [child_run(self._description.candidates[candidate], self._grid)]
        if self._description.folds > 1:
            words.append(f"fold {fold + 1}/{self._description.folds}")
        return words

    def cell_started(self, candidate: int, fold: int, time_ms: int) -> None:
        with self._lock:
            thread = self._threads.setdefault(threading.get_ident(), len(self._threads))
        self._emit(
            CellStarted(
                search_id=self.search_id,
                time_ms=time_ms,
                candidate=candidate,
                fold=fold,
                thread=thread,
            )
        )

    def cell_failed(self, candidate: int, fold: int, error: BaseException) -> None:
        self._emit(
            CellFailed(
                search_id=self.search_id,
                time_ms=self._host.clock.now_ms(),
                candidate=candidate,
                fold=fold,
                failure=_failure_from(error),
            )
        )

    def cell_retried(self, candidate: int, fold: int, tries: int, error: BaseException) -> None:
        self._emit(
            CellRetried(
                search_id=self.search_id,
                time_ms=self._host.clock.now_ms(),
                candidate=candidate,
                fold=fold,
                tries=tries,
                failure=_failure_from(error),
            )
        )

    def cell_scored(
        self,
        cell: CellWatch,
        score: Any,
        fit_seconds: float,
        evaluate_seconds: float,
        counts_as: float | None = None,
    ) -> None:
        """A cell has its score, and Spark goes on with it, or with ``counts_as`` in its place; what
        follows from it is said at once.
        """
        candidate = cell.candidate
        assert candidate is not None
        self.seconds[candidate] = fit_seconds + evaluate_seconds
        now = self._host.clock.now_ms()
        scored = CellScored(
            search_id=self.search_id,
            time_ms=now,
            candidate=candidate,
            fold=cell.fold,
            score=float(score),
            fit_seconds=fit_seconds,
            evaluate_seconds=evaluate_seconds,
            exact=isinstance(score, (float, int)),
        )
        self._cell_is_over(scored, score if counts_as is None else counts_as, cell.spark_loops)

    def taken_up(self, cell: CellWatch, candidate: int, earlier: Earlier) -> None:
        """A cell is not computed: an earlier search has its score."""
        self.seconds[candidate] = earlier.fit_seconds + earlier.evaluate_seconds
        taken = CellTakenUp(
            search_id=self.search_id,
            time_ms=self._host.clock.now_ms(),
            candidate=candidate,
            fold=cell.fold,
            earlier=earlier,
        )
        self._cell_is_over(taken, earlier.score, cell.spark_loops)

    def skipped(
        self, cell: CellWatch, candidate: int, error: Exception | None, counts_as: float
    ) -> None:
        """A cell has failed, or is not computed as another one of its candidate has, and the search
        goes on with this for its score.
        """
        failed = None
        if error is not None:
            failed = CellFailed(
                search_id=self.search_id,
                time_ms=self._host.clock.now_ms(),
                candidate=candidate,
                fold=cell.fold,
                failure=_failure_from(error),
            )
        self._failed.add(candidate)
        self._cell_is_over(failed, counts_as, cell.spark_loops, (candidate, cell.fold))

    def _cell_is_over(
        self,
        event: CellScored | CellTakenUp | CellFailed | None,
        counts_as: Any,
        spark_loops: bool,
        of: tuple[int, int] | None = None,
    ) -> None:
        """Say how a cell ended, and what follows from it."""
        now = self._host.clock.now_ms()
        if event is not None:
            now, of = event.time_ms, (event.candidate, event.fold)
        assert of is not None
        candidate, fold = of
        best = None
        with self._lock:
            description = self._description
            if self._ended or description is None:
                return
            if event is not None:
                self._host.emit(event)
            if not spark_loops:
                return
            scores = self._scores.setdefault(candidate, [])
            scores.append((fold, counts_as))
            self._cells += 1
            if len(scores) == description.folds:
                if candidate not in self._failed:
                    self._host.emit(self._candidate_scored(candidate, now, description))
                best = self._best(description)
                if best is not None:
                    self._refit_start = self._host.clock.monotonic()
                    self._refitted = best
                    self._host.emit(RefitStarted(search_id=self.search_id, time_ms=now, best=best))
        if best is not None:
            self.spending.jobs.refit_starts(child_run(description.candidates[best], self._grid))

    def _emit_costs(self, event: Event) -> None:
        """What a cell cost may be known only when the search is over, or while it ends."""
        with self._lock:
            self._host.emit(event)

    def _emit(self, event: Event) -> None:
        with self._lock:
            if not self._ended and self._description is not None:
                self._host.emit(event)

    def _candidate_scored(
        self, candidate: int, time_ms: int, description: SearchDescription
    ) -> CandidateScored:
        average, deviation = self._average(candidate, description)
        return CandidateScored(
            search_id=self.search_id,
            time_ms=time_ms,
            candidate=candidate,
            average=float(average),
            deviation=None if deviation is None else float(deviation),
        )

    def _average(self, candidate: int, description: SearchDescription) -> tuple[Any, Any]:
        scores = [score for _, score in sorted(self._scores[candidate], key=lambda pair: pair[0])]
        if not description.averaged:
            return scores[0], None
        return average_and_deviation(scores, len(description.candidates))

    def _best(self, description: SearchDescription) -> int | None:
        """The winner, once every cell is scored and if the evaluator says which way is better."""
        count = len(description.candidates)
        if self._cells != count * description.folds or description.larger_is_better is None:
            return None
        averages = [self._average(index, description)[0] for index in range(count)]
        return winner(averages, description.larger_is_better, self.cannot_win)

    def _winner(self, averages: tuple[float, ...] | None) -> int | None:
        description = self._description
        if not averages or description is None or description.larger_is_better is None:
            return self._refitted
        by_spark = winner(averages, description.larger_is_better, self.cannot_win)
        otherwise: int | None = by_spark
        return attempt(lambda: self._choose(self._model, self._maps, by_spark), otherwise)


def _failure_from(error: BaseException) -> Failure:
    return Failure(
        type=type(error).__name__,
        message=without_credentials(attempt(lambda: str(error), "")),
        traceback=of_traceback("".join(traceback.format_exception(error))),
        interrupted=isinstance(error, SearchStopped) or not isinstance(error, Exception),
    )
