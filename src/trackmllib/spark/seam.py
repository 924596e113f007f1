"""The places in pyspark where searches are watched.

``fit`` of the two tuners begins and ends a search; ``_parallelFitTasks`` lays out the cells of a
fold; ``inheritable_thread_target`` of OneVsRest opens the only threads that Spark starts inside a
fit. Each wrapper is a function of its own below, and says why it stands there. The tuner of
``pyspark.ml.connect``, which has a ``_parallelFitTasks`` of its own, is added once it is imported.

In a pyspark that is not as we know it, the folds are left alone, and a search is recorded from its
model. Threads are told that they are inside of a search, where that is known to do no harm.
"""

from __future__ import annotations

import inspect
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import ModuleType
from typing import Any

# Not by way of their packages: those may be half imported, by whoever switches recording on.
from pyspark.ml import classification, tuning
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

from trackmllib.events import Place
from trackmllib.imports import when_imported
from trackmllib.patching import Patch
from trackmllib.settings import Settings
from trackmllib.spark.assumptions import differences, doubts, hands_to_threads
from trackmllib.spark.cell import CellWatch
from trackmllib.spark.conf import SessionConf
from trackmllib.spark.costs import Costs
from trackmllib.spark.describe import describe_search
from trackmllib.spark.here import Bound, Here, State
from trackmllib.spark.host import Host
from trackmllib.spark.interventions import (
    FoldCall,
    Interventions,
    MakeInterventions,
    Task,
    no_interventions,
)
from trackmllib.spark.scores import winner_of_model
from trackmllib.spark.standins import ConnectStandIn, EstimatorStandIn, EvaluatorStandIn
from trackmllib.spark.status import Forgotten
from trackmllib.spark.subclasses import SubclassPatches
from trackmllib.spark.watch import SearchWatch

_TUNERS = (CrossValidator, TrainValidationSplit)
_CONNECT = "pyspark.ml.connect.tuning"


class Seam:
    """Everything that is put into pyspark, installed and removed together."""

    def __init__(
        self,
        host: Host,
        new_id: Callable[[], str],
        interventions: MakeInterventions = no_interventions,
    ) -> None:
        self._host = host
        self._interventions = interventions
        self._new_id = new_id
        self._here = Here()
        self._conf = SessionConf()
        self._costs = Costs(self._not_read)
        self._process = os.getpid()
        self._own_fits = {tuner._fit for tuner in _TUNERS}
        different = differences()
        self.doubts = doubts(different)
        self._spark_loops = {_code(fit) for fit in self._own_fits}
        self._patches = [Patch(tuner, "fit", self._around_fit) for tuner in _TUNERS]
        if not different:
            self._patches.append(
                Patch(tuning, "_parallelFitTasks", partial(self._around_fold, EstimatorStandIn))
            )
            if hasattr(CrossValidator, "_kFold"):
                self._patches.append(Patch(CrossValidator, "_kFold", self._around_folds))
        self._patches.extend(
            Patch(module, "inheritable_thread_target", self._around_thread_target)
            for module in ((classification, tuning) if different else (classification,))
            if hands_to_threads(module)
        )
        self._subclasses = [SubclassPatches(_TUNERS, "fit", self._around_fit_of_subclass)]
        self._installed = False
        # Not before somebody else imports it: it needs packages that classic Spark does without.
        when_imported(_CONNECT, _telling(weakref.WeakMethod(self._watch_connect)))

    def install(self) -> None:
        self._installed = True
        for patch in self._patches:
            patch.install()
        for subclasses in self._subclasses:
            subclasses.install()

    def uninstall(self) -> None:
        self._installed = False
        for subclasses in self._subclasses:
            subclasses.uninstall()
        for patch in reversed(self._patches):
            patch.uninstall()

    def inside_search(self) -> bool:
        """Whether the current thread runs code on behalf of a search, if that is recorded."""
        settings = self._here.settings
        return self._here.inside and (settings is None or settings.record)

    def _not_read(self, error: Exception) -> None:
        """What Spark's jobs cost cannot be read."""
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if isinstance(error, Forgotten):
            reason = "spark.ui.retainedJobs or spark.ui.retainedStages is too low for them"
        self._host.say_once(
            f"What Spark's jobs cost cannot be read ({reason}): the searches of this Spark session "
            "are recorded without costs. The training is not affected."
        )

    def _watch_connect(self, module: ModuleType) -> None:
        """Spark's tuner for Connect has been imported: watch it as the others are."""
        with self._host.guard("", f"watching {_CONNECT}"):
            tuner = module.CrossValidator
            self._own_fits.add(tuner._fit)
            self._spark_loops.add(_code(tuner._fit))
            self._patches += [
                Patch(tuner, "fit", self._around_fit),
                Patch(module, "_parallelFitTasks", partial(self._around_fold, ConnectStandIn)),
            ]
            self._subclasses.append(SubclassPatches((tuner,), "fit", self._around_fit_of_subclass))
            if self._installed:
                self.install()

    def _around_fit(self, original: Any, tuner: Any, *args: Any, **kwargs: Any) -> Any:
        """``fit`` of a tuner class of pyspark: begins and ends the search.

        Here and not in ``_fit``, because subclasses that replace ``_fit`` inherit it too. With one
        of these the search begins with its first fold: they may make the grid only there.
        """
        here = self._here
        if not (settings := self._wanted(args, kwargs)):
            return original(tuner, *args, **kwargs)
        if self._is_in_hand(tuner):
            # Its folds are seen once: here, or in the loop that the subclass has made before.
            again = here.search is None or here.search.has_folds
            with Bound(here, State(muted=True) if again else here.state):
                return original(tuner, *args, **kwargs)
        place = self._place()
        if here.search is not None and here.search.is_delegated_to(tuner):
            here.search.superseded = True
            place = here.search.place
        search = self._search(tuner, args, kwargs, settings, place)
        with (
            search,
            self._intervening(search) as interventions,
            self._at(State(search=search, interventions=interventions)),
        ):
            if type(tuner)._fit in self._own_fits:
                search.begin()
            model = original(tuner, *args, **kwargs)
            search.returned(model, _arguments(args, kwargs)[0])
        return model

    def _around_fit_of_subclass(self, original: Any, tuner: Any, *args: Any, **kwargs: Any) -> Any:
        """``fit`` that a subclass wrote itself: it may call ours above, or loop on its own.

        The search begins with its first fold, or at the end at the latest; if the ``fit`` above is
        called before, the search is that one's.
        """
        outer = self._here.search
        if (
            not (settings := self._wanted(args, kwargs))
            or self._is_in_hand(tuner)
            or (outer is not None and outer.is_delegated_to(tuner))
        ):
            return original(tuner, *args, **kwargs)
        search = self._search(tuner, args, kwargs, settings, self._place(), delegates=True)
        with search, self._at(State(search=search)):
            model = original(tuner, *args, **kwargs)
            search.returned(model, _arguments(args, kwargs)[0])
        return model

    def _around_fold(
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
        spark_loops = sys._getframe(2).f_code in self._spark_loops
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
            return lay_out(call)
        return state.interventions.lay_out(call, lay_out)

    def _around_folds(self, original: Any, tuner: Any, *args: Any, **kwargs: Any) -> Any:
        """``_kFold``, which makes the data of all folds, before Spark's loop over them."""
        folds = original(tuner, *args, **kwargs)
        interventions = self._here.state.interventions
        if interventions is None or sys._getframe(2).f_code not in self._spark_loops:
            return folds
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
            estimator = stand_in(estimator, here, call.order)
            evaluator = EvaluatorStandIn(evaluator, here)
        tasks = original(
            estimator, call.train, evaluator, call.validation, call.maps, *rest, **named
        )
        if new_watch is None:
            return self._muted(tasks)
        if stand_in.tasks_in_order:
            tasks = [self._of_candidate(index, task) for index, task in enumerate(tasks)]
        return [self._cell(new_watch, task) for task in tasks]

    def _muted(self, tasks: list[Task]) -> list[Task]:
        """Tasks of a fold that is no part of what is recorded."""
        muted = State(muted=True)
        return [self._carried(task, muted) for task in tasks] if self._here.inside else tasks

    def _of_candidate(self, index: int, task: Callable[[], Any]) -> Callable[[], Any]:
        """A task whose candidate is known before it runs."""

        def of_candidate() -> Any:
            if self._here.cell is not None:
                self._here.cell.started(index)
            return task()

        return of_candidate

    def _around_thread_target(self, original: Any, target: Any) -> Any:
        """What OneVsRest wraps its fits in before it hands them to threads of its own.

        Tells those threads where they are: in the cell of the thread that starts them. Takes a
        function, or (Spark 4) the session, for which it returns a decorator.
        """
        wrapped = original(target)
        state = self._here.state
        if not self._here.inside:
            return wrapped
        if callable(target):
            return self._carried(wrapped, state)
        return lambda function: self._carried(wrapped(function), state)

    def _cell(
        self, new_watch: Callable[[], CellWatch], task: Callable[[], Any]
    ) -> Callable[[], Any]:
        """The one function that every cell goes through."""

        def cell() -> Any:
            with new_watch() as watch, self._at(State(cell=watch)):
                return task()

        return cell

    @contextmanager
    def _intervening(self, search: SearchWatch) -> Iterator[Interventions | None]:
        """What the user has asked for that changes how Spark computes this search."""
        interventions = None
        with search.guard("preparing what was asked for"):
            interventions = self._interventions(search.settings, search)
        try:
            yield interventions
        finally:
            if interventions is not None:
                interventions.close()

    def _carried(self, task: Callable[..., Any], state: State) -> Callable[..., Any]:
        def carried(*args: Any, **kwargs: Any) -> Any:
            with self._at(state):
                return task(*args, **kwargs)

        return carried

    @contextmanager
    def _at(self, state: State) -> Iterator[None]:
        """This thread is there, and so is MLflow's active run."""
        search, cell = state.search, state.cell
        active: AbstractContextManager[None] = nullcontext()
        if cell is not None:
            active = self._host.active_run(cell.search_id, lambda: cell.candidate, cell.fold)
        elif search is not None:
            active = self._host.active_run(search.search_id, lambda: None, None)
        with Bound(self._here, state), active:
            yield

    def _is_in_hand(self, tuner: Any) -> bool:
        """Whether a tuner fitted now is part of what is recorded already, or of what is over.

        A subclass may do something in a ``fit`` of its own and then call the one above. Any other
        tuner is a search inside of this one, which has begun then.
        """
        state = self._here.state
        if state.cell is not None:
            return state.cell.is_over
        if state.search is None:
            return state.muted
        search = state.search
        if search.is_of(tuner):
            return not search.is_delegated_to(tuner)
        return not search.begin_with_own_grid()

    def _place(self) -> Place | None:
        """Where in another search a search that begins now is; None if in none."""
        state = self._here.state
        if state.cell is not None:
            return state.cell.place
        return None if state.search is None else state.search.inner_place

    def _wanted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Settings | None:
        """The settings of a search, if this call is one to record.

        Not in a forked child; not where the settings say no; and a list of param maps is no search
        itself: Spark calls ``fit`` again for each of them. What holds for a search, holds for those
        inside of it.
        """
        dataset, params = _arguments(args, kwargs)
        if os.getpid() != self._process or isinstance(params, (list, tuple)):
            return None
        settings = self._host.settings
        if self._here.inside:
            return self._here.settings or settings
        with self._host.guard("", "reading the Spark conf"):
            settings = self._host.settings_with(self._conf.read(dataset))
        return settings if settings.enabled else None

    def _search(
        self,
        tuner: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        settings: Settings,
        place: Place | None,
        *,
        delegates: bool = False,
    ) -> SearchWatch:
        dataset, params = _arguments(args, kwargs)

        def describe(maps: Any) -> Any:
            # As Spark does it: params given to fit() count, on a copy.
            effective = tuner.copy(params) if isinstance(params, dict) and params else tuner
            seen = dataset if self._conf.answers(dataset) else None
            return describe_search(
                effective,
                seen,
                maps,
                settings.redaction.hides,
                with_dataset=settings.log_datasets,
                history_server=settings.history_server,
            )

        def choose(model: Any, maps: Any, expected: int) -> int | None:
            if type(tuner)._fit in self._own_fits and not self.doubts:
                return expected
            maps = tuner.getEstimatorParamMaps() if maps is None else maps
            return winner_of_model(model, tuner.getEstimator(), maps, expected)

        return SearchWatch(
            self._host,
            self._new_id(),
            tuner,
            place,
            describe,
            choose,
            self._costs,
            dataset,
            settings=settings,
            delegates=delegates,
        )


def _code(function: Any) -> Any:
    """The code of a function that may be wrapped; None of what is no function of Python's."""
    return getattr(inspect.unwrap(function), "__code__", None)


def _telling(method: weakref.WeakMethod[Callable[[ModuleType], None]]) -> Callable[..., None]:
    """Calls a method as long as its object lives, without keeping it alive."""

    def tell(module: ModuleType) -> None:
        call = method()
        if call is not None:
            call(module)

    return tell


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """``dataset`` and ``params`` of a call of ``fit(dataset, params=None)``, as far as given."""
    dataset = args[0] if args else kwargs.get("dataset")
    params = args[1] if len(args) > 1 else kwargs.get("params")
    return dataset, params
