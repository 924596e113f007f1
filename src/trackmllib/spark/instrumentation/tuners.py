"""Instrumentation of the tuners: all patches of pyspark.

* ``fit`` of a tuner is a search.
* ``_parallelFitTasks`` creates the tasks of a fold.
* ``inheritable_thread_target`` of OneVsRest wraps the only threads that Spark starts inside a fit.
* The tuner of ``pyspark.ml.connect`` is patched when it is imported.

In an unsupported pyspark, folds are not patched, and a search is recorded from its model.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import ModuleType
from typing import Any

# Not from pyspark.ml, which may be half imported when recording is switched on.
from pyspark.ml import classification, tuning
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

from trackmllib.domain.descriptions import ParentFit
from trackmllib.spark.instrumentation.best_index import ChoicePatch
from trackmllib.spark.instrumentation.callbacks import Callbacks
from trackmllib.spark.instrumentation.compat import (
    compatibility_warnings,
    differences,
    has_thread_target,
)
from trackmllib.spark.instrumentation.folds import EstimatorProxyClass, FoldInstrumentation
from trackmllib.spark.instrumentation.proxies import ConnectEstimatorProxy, EstimatorProxy
from trackmllib.spark.instrumentation.search_factory import SearchFactory, fit_arguments
from trackmllib.spark.instrumentation.subclasses import SubclassPatches
from trackmllib.spark.instrumentation.thread_context import ThreadContext, Work
from trackmllib.support.import_hooks import when_imported
from trackmllib.support.patching import Patch, SharedPatches

_TUNERS = (CrossValidator, TrainValidationSplit)
_CONNECT = "pyspark.ml.connect.tuning"


class TunerInstrumentation:
    """All patches of pyspark, installed and removed together.

    ``warnings`` lists what is not recorded in this pyspark; usually nothing.
    """

    def __init__(self, callbacks: Callbacks, new_id: Callable[[], str]) -> None:
        self._callbacks = callbacks
        self._context = ThreadContext()
        self._folds = FoldInstrumentation(self._context, self._enter)
        self._searches = SearchFactory(callbacks, new_id, self._context)
        different = differences()
        self.warnings = compatibility_warnings(different)
        self._searches.supports_pyspark = not different
        self._patches: list[Patch] = []
        self._subclasses: list[SubclassPatches] = []
        self._installed = False
        for tuner in _TUNERS:
            self._add_tuner(tuner)
        self._add_subclasses_of(_TUNERS)
        if not different:
            self._add_folds(tuning, EstimatorProxy)
            if hasattr(CrossValidator, "_kFold"):
                self._patches.append(Patch(CrossValidator, "_kFold", self._folds.k_fold))
        self._patches.extend(
            Patch(module, "inheritable_thread_target", self._thread_target)
            for module in ((classification, tuning) if different else (classification,))
            if has_thread_target(module)
        )
        self._add_choice(tuning)
        # Never imported by us: it needs packages that classic Spark does not.
        when_imported(_CONNECT, _call_weakly(weakref.WeakMethod(self._add_connect)))

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

    def inside_any_search(self) -> bool:
        """Whether the current thread works for a search, recorded or not."""
        return self._context.is_in_search

    def inside_search(self) -> bool:
        """Whether the current thread works for a search that is recorded."""
        settings = self._context.settings
        return self._context.is_in_search and (settings is None or settings.record)

    def _add_connect(self, module: ModuleType) -> None:
        with self._callbacks.guard("", f"patching {_CONNECT}"):
            tuner = module.CrossValidator
            self._add_tuner(tuner)
            self._add_folds(module, ConnectEstimatorProxy)
            self._add_choice(module)
            self._add_subclasses_of((tuner,))
            if self._installed:
                self.install()

    def _add_tuner(self, tuner: type[Any]) -> None:
        self._searches.spark_fits.add(tuner._fit)
        self._folds.loops.add(getattr(inspect.unwrap(tuner._fit), "__code__", None))
        self._patches.append(Patch(tuner, "fit", self._fit))

    def _add_folds(self, module: ModuleType, proxy: EstimatorProxyClass) -> None:
        wrapper = partial(self._folds.fit_tasks, proxy)
        self._patches.append(Patch(module, "_parallelFitTasks", wrapper))

    def _add_choice(self, module: ModuleType) -> None:
        patch = ChoicePatch(module, self._cannot_win)
        self._searches.choice_patches.append(SharedPatches([patch]))

    def _add_subclasses_of(self, tuners: tuple[type[Any], ...]) -> None:
        self._subclasses.append(SubclassPatches(tuners, "fit", self._fit_of_subclass))

    def _fit(self, original: Any, tuner: Any, *args: Any, **kwargs: Any) -> Any:
        """Wrapper of ``fit`` of pyspark's tuners, which tracks the search.

        Subclasses that override ``_fit`` inherit ``fit``. Their search starts with its first fold,
        because they may create the grid in ``_fit``.
        """
        context = self._context
        if not (settings := self._searches.settings_for(args, kwargs)):
            return original(tuner, *args, **kwargs)
        if self._is_tracked(tuner):
            # A subclass may have computed the folds before this call; record them once.
            again = context.search is None or context.search.has_folds
            with context.enter(Work(muted=True) if again else context.work):
                return original(tuner, *args, **kwargs)
        if settings.resume == "seed" and not context.is_in_search:
            args, kwargs = self._searches.with_recorded_seeds(tuner, args, kwargs, settings)
        parent = self._parent()
        if context.search is not None and context.search.is_delegated_to(tuner):
            context.search.superseded = True
            parent = context.search.events.parent
        search = self._searches.new_tracker(tuner, args, kwargs, settings, parent)
        dataset, _ = fit_arguments(args, kwargs)
        with (
            search,
            self._searches.middleware(search, tuner, dataset) as middleware,
            self._enter(Work(search=search, middleware=middleware)),
        ):
            if type(tuner)._fit in self._searches.spark_fits:
                search.begin(spark_loops=self._searches.supports_pyspark)
            model = original(tuner, *args, **kwargs)
            search.returned(model, dataset)
        return model

    def _fit_of_subclass(self, original: Any, tuner: Any, *args: Any, **kwargs: Any) -> Any:
        """Wrapper of a subclass's ``fit``, which may have its own loop.

        The search starts with its first fold, or at its end. If the subclass calls Spark's ``fit``
        before that, that call is the search.
        """
        outer = self._context.search
        if (
            not (settings := self._searches.settings_for(args, kwargs))
            or self._is_tracked(tuner)
            or (outer is not None and outer.is_delegated_to(tuner))
        ):
            return original(tuner, *args, **kwargs)
        search = self._searches.new_tracker(
            tuner, args, kwargs, settings, self._parent(), delegates=True
        )
        dataset, _ = fit_arguments(args, kwargs)
        with (
            search,
            self._searches.middleware(search, tuner, dataset) as middleware,
            self._enter(Work(search=search, middleware=middleware)),
        ):
            model = original(tuner, *args, **kwargs)
            search.returned(model, dataset)
        return model

    def _thread_target(self, original: Any, target: Any) -> Any:
        """Wrapper that gives OneVsRest's threads the work of their parent.

        ``target`` is a function; or in Spark 4 the session, for which the original returns a
        decorator.
        """
        wrapped = original(target)
        work = self._context.work
        if not self._context.is_in_search:
            return wrapped
        if callable(target):
            return self._folds.carry(wrapped, work)
        return lambda function: self._folds.carry(wrapped(function), work)

    def _cannot_win(self) -> Collection[int]:
        """Candidates that Spark's choice in this thread ignores."""
        search = self._context.search
        return () if search is None else search.events.cannot_win

    @contextmanager
    def _enter(self, work: Work) -> Iterator[None]:
        """Context of work in this thread, whose MLflow run becomes the active run."""
        search, fit = work.search, work.fit
        active: AbstractContextManager[None] = nullcontext()
        if fit is not None:
            active = self._callbacks.active_run(fit.search_id, lambda: fit.candidate, fit.fold)
        elif search is not None:
            active = self._callbacks.active_run(search.events.search_id, lambda: None, None)
        with self._context.enter(work), active:
            yield

    def _is_tracked(self, tuner: Any) -> bool:
        """Whether a call of ``fit()`` belongs to a search that is tracked or over.

        A subclass may call the ``fit()`` of its base class. A call of another tuner's ``fit()`` is
        a nested search, before which the outer search must have started.
        """
        work = self._context.work
        if work.fit is not None:
            return work.fit.is_over
        if work.search is None:
            return work.muted
        search = work.search
        if search.is_of(tuner):
            return not search.is_delegated_to(tuner)
        return not search.begin_with_own_grid()

    def _parent(self) -> ParentFit | None:
        """Parent of a search that starts in this thread now."""
        work = self._context.work
        if work.fit is not None:
            return work.fit.as_parent
        return None if work.search is None else work.search.as_parent


def _call_weakly(method: weakref.WeakMethod[Callable[[ModuleType], None]]) -> Callable[..., None]:
    """Wrap a method in a function that does not keep its object alive."""

    def call(module: ModuleType) -> None:
        function = method()
        if function is not None:
            function(module)

    return call
