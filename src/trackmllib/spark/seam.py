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
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from types import ModuleType
from typing import Any

# Not by way of their packages: those may be half imported, by whoever switches recording on.
from pyspark.ml import classification, tuning
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

from trackmllib.events import Place
from trackmllib.imports import when_imported
from trackmllib.patching import Patch, SharedPatches
from trackmllib.settings import Settings
from trackmllib.spark.assumptions import differences, doubts, hands_to_threads
from trackmllib.spark.choice import ChoicePatch
from trackmllib.spark.conf import SessionConf
from trackmllib.spark.costs import Costs
from trackmllib.spark.describe import describe_search
from trackmllib.spark.folds import Folds
from trackmllib.spark.here import Bound, Here, State
from trackmllib.spark.host import Host
from trackmllib.spark.interventions import (
    Interventions,
    MakeInterventions,
    no_interventions,
)
from trackmllib.spark.resuming.keys import recorded_seeds
from trackmllib.spark.scores import winner_of_model
from trackmllib.spark.standins import ConnectStandIn, EstimatorStandIn
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
        self._folds = Folds(self._here, self._at)
        self._folds.loops.update(_code(fit) for fit in self._own_fits)
        self._patches = [Patch(tuner, "fit", self._around_fit) for tuner in _TUNERS]
        if not different:
            self._patches.append(
                Patch(
                    tuning, "_parallelFitTasks", partial(self._folds.around_fold, EstimatorStandIn)
                )
            )
            if hasattr(CrossValidator, "_kFold"):
                self._patches.append(Patch(CrossValidator, "_kFold", self._folds.around_folds))
        self._patches.extend(
            Patch(module, "inheritable_thread_target", self._around_thread_target)
            for module in ((classification, tuning) if different else (classification,))
            if hands_to_threads(module)
        )
        self._choices = [SharedPatches([ChoicePatch(tuning, self._cannot_win)])]
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
            self._folds.loops.add(_code(tuner._fit))
            self._patches += [
                Patch(tuner, "fit", self._around_fit),
                Patch(
                    module, "_parallelFitTasks", partial(self._folds.around_fold, ConnectStandIn)
                ),
            ]
            self._choices.append(SharedPatches([ChoicePatch(module, self._cannot_win)]))
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
        if settings.resume == "seed" and not here.inside:
            args, kwargs = self._with_recorded_seeds(tuner, args, kwargs, settings)
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
                search.begin(spark_loops=not self.doubts)
            model = original(tuner, *args, **kwargs)
            search.returned(model, _arguments(args, kwargs)[0])
        return model

    def _with_recorded_seeds(
        self, tuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any], settings: Settings
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of ``fit`` with the seeds of an earlier search, where none are set: params
        given to ``fit`` are Spark's own way to change some for one call.
        """
        dataset, params = _arguments(args, kwargs)
        with self._host.guard("", "looking for the seeds of an earlier search"):
            recorded = recorded_seeds(tuner, lambda family: self._host.seeds(family, settings))
            if recorded:
                return (dataset, {**recorded, **(params or {})}), {}
        return args, kwargs

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
        with (
            search,
            self._intervening(search) as interventions,
            self._at(State(search=search, interventions=interventions)),
        ):
            model = original(tuner, *args, **kwargs)
            search.returned(model, _arguments(args, kwargs)[0])
        return model

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
            return self._folds.carried(wrapped, state)
        return lambda function: self._folds.carried(wrapped(function), state)

    @contextmanager
    def _intervening(self, search: SearchWatch) -> Iterator[Interventions | None]:
        """What the user has asked for that changes how Spark computes this search."""
        interventions = self._interventions(search.settings, search)
        if interventions is None:
            yield None
            return
        try:
            with ExitStack() as stack:
                for choice in self._choices:
                    stack.enter_context(choice)
                yield interventions
            if not interventions.used and not search.superseded:
                search.say(
                    f"{interventions.names} {interventions.have} no effect on a "
                    f"{type(search.tuner).__name__}: it goes over its folds in its own way, or "
                    "this pyspark is not one that is known."
                )
        finally:
            with search.guard("letting go what was kept"):
                interventions.close()

    def _cannot_win(self) -> Collection[int]:
        """The candidates that Spark's choice in this thread passes over."""
        search = self._here.search
        return () if search is None else search.cannot_win

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

        def describe(maps: Any, spark_loops: bool) -> Any:
            # As Spark does it: params given to fit() count, on a copy.
            effective = tuner.copy(params) if isinstance(params, dict) and params else tuner
            seen = dataset if self._conf.answers(dataset) else None
            described = describe_search(
                effective,
                seen,
                maps,
                settings.redaction.hides,
                with_dataset=settings.log_datasets,
                history_server=settings.history_server,
            )
            interventions = self._here.state.interventions
            if interventions is not None and spark_loops:
                described = interventions.describe(described, effective, maps)
            return described

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
