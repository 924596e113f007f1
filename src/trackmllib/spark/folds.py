"""Lays out the cells of a fold: made by Spark, watched, and changed only where users ask for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from trackmllib.events import Earlier
from trackmllib.spark.cell import CellWatch
from trackmllib.spark.here import Here, State
from trackmllib.spark.interventions import Compute, FoldCall, Task, Timer, of_frames
from trackmllib.spark.standins import ConnectStandIn, EstimatorStandIn, EvaluatorStandIn
from trackmllib.spark.watch import SearchWatch


class Folds:
    """Stands around ``_parallelFitTasks`` and ``_kFold``. ``at`` puts a thread where its work is.

    ``loops`` holds the code of Spark's own loops over the folds, whose rules we know.
    """

    def __init__(self, here: Here, at: Callable[[State], AbstractContextManager[None]]) -> None:
        self.loops: set[Any] = set()
        self._here = here
        self._at = at

    def around_fold(
        self,
        stand_in: type[EstimatorStandIn] | type[ConnectStandIn],
        original: Any,
        est: Any,
        train: Any,
        eva: Any,
        validation: Any,
        epm: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        """``_parallelFitTasks``, called once for each fold in the thread of ``_fit``: lays out the
        fold's cells.
        """
        state = self._here.state
        if state.search is None or state.search.superseded:
            return self._muted(original(est, train, eva, validation, epm, *rest, **named))
        # Two frames up: past the wrapper of the patch stands the loop over the folds.
        loop = sys._getframe(2)
        spark_loops = loop.f_code in self.loops
        lay_out = partial(self._lay_out, state.search, spark_loops, stand_in, original, rest, named)
        call = FoldCall(
            estimator=est,
            train=train,
            evaluator=eva,
            validation=validation,
            maps=epm,
            collects_models=bool(rest[0] if rest else named.get("collectSubModel", False)),
        )
        if state.interventions is None or not spark_loops:
            return lay_out(of_frames(call))
        # Where a subclass has a fit of its own, it may not have begun yet.
        state.search.begin(epm, spark_loops=True)
        return state.interventions.lay_out(call, lay_out, loop)

    def around_folds(self, original: Any, tuner: Any, *args: Any, **kwargs: Any) -> Any:
        """``_kFold``, which makes the data of all folds, before Spark's loop over them."""
        folds = original(tuner, *args, **kwargs)
        search, interventions = self._here.search, self._here.state.interventions
        if search is None or interventions is None or sys._getframe(2).f_code not in self.loops:
            return folds
        # Where a subclass has a fit of its own, it has not begun yet.
        search.begin(tuner.getEstimatorParamMaps(), spark_loops=True)
        return interventions.folds(tuner, folds)

    def _lay_out(
        self,
        search: SearchWatch,
        spark_loops: bool,
        stand_in: type[EstimatorStandIn] | type[ConnectStandIn],
        original: Any,
        rest: tuple[Any, ...],
        named: dict[str, Any],
        call: FoldCall,
    ) -> list[Task]:
        """The tasks of one fold, made by Spark and watched."""
        here = self._here
        new_watch = search.next_fold(call.maps, spark_loops=spark_loops)
        estimator, evaluator = call.estimator, call.evaluator
        if new_watch is not None:
            estimator = stand_in(estimator, here, call)
            evaluator = EvaluatorStandIn(evaluator, here, call.counts_as)
        tasks = original(
            estimator, call.train, evaluator, call.validation, call.maps, *rest, **named
        )
        if new_watch is None:
            return self._muted(tasks)
        if stand_in.tasks_in_order:
            tasks = [
                self._of_candidate(index, task)
                for index, task in enumerate(tasks)
                if index not in call.taken
            ]
        else:
            # They are all alike: each takes the next model.
            tasks = tasks[: len(tasks) - len(call.taken)]
        left = iter(tasks)
        # In the order of the grid: StopIteration cuts off what comes after it.
        return [
            partial(self._take_up, search, new_watch, index, call.taken[index], stand_in.result)
            if index in call.taken
            else self._cell(search, new_watch, next(left), call.compute, stand_in.result)
            for index in range(len(call.maps))
        ]

    def _take_up(
        self,
        search: SearchWatch,
        new_watch: Callable[[], CellWatch],
        index: int,
        earlier: Earlier,
        result: Callable[[int, float], Any],
    ) -> Any:
        """The task of a cell whose score there is."""
        with search.guard("recording a score that was taken up"):
            search.taken_up(new_watch(), index, earlier)
        return result(index, earlier.score)

    def _muted(self, tasks: list[Task]) -> list[Task]:
        """Tasks of a fold that is no part of what is recorded."""
        muted = State(muted=True)
        return [self.carried(task, muted) for task in tasks] if self._here.inside else tasks

    def _of_candidate(self, index: int, task: Callable[[], Any]) -> Callable[[], Any]:
        """A task whose candidate is known before it runs."""

        def of_candidate() -> Any:
            if self._here.cell is not None:
                self._here.cell.started(index)
            return task()

        return of_candidate

    def _cell(
        self,
        search: SearchWatch,
        new_watch: Callable[[], CellWatch],
        task: Callable[[], Any],
        compute: Compute | None,
        result: Callable[[int, float], Any],
    ) -> Callable[[], Any]:
        """The one function that every cell goes through."""

        def cell() -> Any:
            with (
                search.computing(),
                new_watch() as watch,
                self._at(State(cell=watch)),
            ):
                return task() if compute is None else compute(_Cell(watch, task, result))

        return cell

    def carried(self, task: Callable[..., Any], state: State) -> Callable[..., Any]:
        def carried(*args: Any, **kwargs: Any) -> Any:
            with self._at(state):
                return task(*args, **kwargs)

        return carried


class _Cell:
    """A cell, for what stands around it."""

    def __init__(
        self, watch: CellWatch, task: Callable[[], Any], result: Callable[[int, float], Any]
    ) -> None:
        self._watch = watch
        self.result = result
        self.run = task
        self.tried = watch.tried
        self.skipped = watch.skipped

    @property
    def candidate(self) -> int | None:
        return self._watch.candidate

    @property
    def tag(self) -> str:
        return self._watch.jobs.tag

    def time_by(self, timer: Timer | None) -> None:
        self._watch.timer = timer
