"""The places in pyspark where searches are watched.

``fit`` of the two tuners begins and ends a search; ``_parallelFitTasks`` lays out the cells of a
fold; ``inheritable_thread_target`` of OneVsRest opens the only threads that Spark starts inside a
fit. Each wrapper is a function of its own below, and says why it stands there. The tuner of
``pyspark.ml.connect``, which has a ``_parallelFitTasks`` of its own, is added once it is imported.
"""

from __future__ import annotations

import inspect
import os
import sys
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pyspark.ml.classification
import pyspark.ml.tuning
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

from trackmllib.imports import when_imported
from trackmllib.patching import Patch
from trackmllib.spark.conf import SessionConf
from trackmllib.spark.describe import describe_search
from trackmllib.spark.here import Bound, Here
from trackmllib.spark.scores import winner_of_model
from trackmllib.spark.standins import ConnectEstimatorStandIn, EstimatorStandIn, EvaluatorStandIn
from trackmllib.spark.subclasses import SubclassPatches
from trackmllib.spark.watch import CellWatch, Host, SearchWatch

_TUNERS = (CrossValidator, TrainValidationSplit)
_CONNECT = "pyspark.ml.connect.tuning"


class Seam:
    """Everything that is put into pyspark, installed and removed together.

    ``enabled`` is asked at each ``fit()``, with a function that reads the Spark conf.
    """

    def __init__(
        self,
        host: Host,
        new_id: Callable[[], str],
        enabled: Callable[[Callable[[str], str | None]], bool],
    ) -> None:
        self._host = host
        self._new_id = new_id
        self._enabled = enabled
        self._here = Here()
        self._conf = SessionConf()
        self._process = os.getpid()
        self._own_fits = {tuner._fit for tuner in _TUNERS}
        self._spark_loops = {inspect.unwrap(fit).__code__ for fit in self._own_fits}
        self._patches = [
            *(Patch(tuner, "fit", self._around_fit) for tuner in _TUNERS),
            Patch(pyspark.ml.tuning, "_parallelFitTasks", self._around_parallel_fit_tasks),
            Patch(
                pyspark.ml.classification, "inheritable_thread_target", self._around_thread_target
            ),
        ]
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
        """Whether the current thread runs code on behalf of a search."""
        return self._here.inside

    def _watch_connect(self, module: ModuleType) -> None:
        """Spark's tuner for Connect has been imported: watch it as the others are."""
        with self._host.guard("", f"watching {_CONNECT}"):
            tuner = module.CrossValidator
            self._own_fits.add(tuner._fit)
            self._spark_loops.add(inspect.unwrap(tuner._fit).__code__)
            self._patches += [
                Patch(tuner, "fit", self._around_fit),
                Patch(module, "_parallelFitTasks", self._around_connect_fit_tasks),
            ]
            self._subclasses.append(SubclassPatches((tuner,), "fit", self._around_fit_of_subclass))
            if self._installed:
                self.install()

    def _around_fit(self, original: Any, tuner: Any, *args: Any, **kwargs: Any) -> Any:
        """``fit`` of a tuner class of pyspark: begins and ends the search.

        Here and not in ``_fit``, because subclasses that replace ``_fit`` inherit it too. With one
        of these the search begins with its first fold: they may make the grid only there.
        """
        if self._here.taken:
            with Bound(self._here, muted=True):
                return original(tuner, *args, **kwargs)
        if not self._wanted(args, kwargs):
            return original(tuner, *args, **kwargs)
        if self._here.search is not None:
            self._here.search.superseded = True
        search = self._search(tuner, args, kwargs)
        with search, Bound(self._here, search=search):
            if type(tuner)._fit in self._own_fits:
                search.begin()
            model = original(tuner, *args, **kwargs)
            search.returned(model)
        return model

    def _around_fit_of_subclass(self, original: Any, tuner: Any, *args: Any, **kwargs: Any) -> Any:
        """``fit`` that a subclass wrote itself: it may call ours above, or loop on its own.

        The search begins with its first fold, or at the end at the latest; if the ``fit`` above is
        called before, the search is that one's.
        """
        if self._here.inside or not self._wanted(args, kwargs):
            return original(tuner, *args, **kwargs)
        search = self._search(tuner, args, kwargs, delegates=True)
        with search, Bound(self._here, search=search):
            model = original(tuner, *args, **kwargs)
            search.returned(model)
        return model

    def _around_parallel_fit_tasks(
        self,
        original: Any,
        est: Any,
        train: Any,
        eva: Any,
        validation: Any,
        epm: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        """Called once for each fold, in the thread of ``_fit``: lays out the fold's cells."""
        here = self._here
        new_watch = None
        if here.search is not None and not here.search.superseded:
            # Two frames up: past the wrapper of the patch stands the loop over the folds.
            spark_loops = sys._getframe(2).f_code in self._spark_loops
            new_watch = here.search.next_fold(epm, spark_loops=spark_loops)
        if new_watch is None:
            tasks = original(est, train, eva, validation, epm, *rest, **named)
            return [self._muted(task) for task in tasks] if here.inside else tasks
        tasks = original(
            EstimatorStandIn(est, here),
            train,
            EvaluatorStandIn(eva, here),
            validation,
            epm,
            *rest,
            **named,
        )
        return [self._cell(new_watch, task) for task in tasks]

    def _around_connect_fit_tasks(
        self,
        original: Any,
        estimator: Any,
        train: Any,
        evaluator: Any,
        validation: Any,
        epm: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        """The same of ``pyspark.ml.connect``: a task of its own for each candidate, in order."""
        here = self._here
        new_watch = None
        if here.search is not None and not here.search.superseded:
            spark_loops = sys._getframe(2).f_code in self._spark_loops
            new_watch = here.search.next_fold(epm, spark_loops=spark_loops)
        if new_watch is None:
            tasks = original(estimator, train, evaluator, validation, epm, *rest, **named)
            return [self._muted(task) for task in tasks] if here.inside else tasks
        tasks = original(
            ConnectEstimatorStandIn(estimator, here),
            train,
            EvaluatorStandIn(evaluator, here),
            validation,
            epm,
            *rest,
            **named,
        )
        return [
            self._cell(new_watch, self._of_candidate(index, task))
            for index, task in enumerate(tasks)
        ]

    def _of_candidate(self, index: int, task: Callable[[], Any]) -> Callable[[], Any]:
        """A task whose candidate is known before it runs."""

        def of_candidate() -> Any:
            if self._here.cell is not None:
                self._here.cell.started(index)
            return task()

        return of_candidate

    def _around_thread_target(self, original: Any, target: Any) -> Any:
        """What OneVsRest wraps its fits in before it hands them to threads of its own.

        Tells those threads that they are inside of a search. Takes a function, or (Spark 4) the
        session, for which it returns a decorator.
        """
        wrapped = original(target)
        if not self._here.inside:
            return wrapped
        if callable(target):
            return self._muted(wrapped)
        return lambda function: self._muted(wrapped(function))

    def _cell(
        self, new_watch: Callable[[], CellWatch], task: Callable[[], Any]
    ) -> Callable[[], Any]:
        """The one function that every cell goes through."""

        def cell() -> Any:
            with new_watch() as watch, Bound(self._here, cell=watch, muted=True):
                return task()

        return cell

    def _muted(self, task: Callable[..., Any]) -> Callable[..., Any]:
        def muted(*args: Any, **kwargs: Any) -> Any:
            with Bound(self._here, muted=True):
                return task(*args, **kwargs)

        return muted

    def _wanted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether this call is a search to record.

        Not in a forked child; not where the conf says no; and a list of param maps is no search
        itself: Spark calls ``fit`` again for each of them.
        """
        dataset, params = _arguments(args, kwargs)
        if os.getpid() != self._process or isinstance(params, (list, tuple)):
            return False
        with self._host.guard("", "reading the Spark conf"):
            return self._enabled(self._conf.reader(dataset))
        return True

    def _search(
        self,
        tuner: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        delegates: bool = False,
    ) -> SearchWatch:
        dataset, params = _arguments(args, kwargs)

        def describe(maps: Any) -> Any:
            # As Spark does it: params given to fit() count, on a copy.
            effective = tuner.copy(params) if isinstance(params, dict) and params else tuner
            seen = dataset if self._conf.answers(dataset) else None
            return describe_search(effective, seen, maps, self._host.hides)

        def choose(model: Any, maps: Any, expected: int) -> int | None:
            if type(tuner)._fit in self._own_fits:
                return expected
            maps = tuner.getEstimatorParamMaps() if maps is None else maps
            return winner_of_model(model, tuner.getEstimator(), maps, expected)

        return SearchWatch(self._host, self._new_id(), describe, choose, delegates=delegates)


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
