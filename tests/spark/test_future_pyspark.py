"""A pyspark that is not as we know it: one warning, and searches recorded from their models."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from pathlib import Path

import mlflow
import numpy as np
import pyspark
import pytest
from pyspark.ml import Estimator, base, classification, tuning
from pyspark.ml.classification import OneVsRest
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, TrainValidationSplit

import trackmllib
from commands import environ, finished
from searches import regression_search, stub_search
from stubs import StubEstimator, StubEvaluator
from trackmllib.patching import is_patched
from trackmllib.spark.assumptions import differences

ROOT = Path(__file__).parents[2]

# Spark 3.5, which is known, wraps its tasks in a thread of the pool: there nobody knows the search.
THREADS_ARE_TOLD = not pyspark.__version__.startswith("3.")


@pytest.fixture
def rename(monkeypatch):
    """Gives a name of a module of pyspark's another one, there and in the methods that use it."""

    def do(module, name: str, *methods) -> None:
        new = f"{name}2"
        monkeypatch.setattr(module, new, getattr(module, name), raising=False)
        monkeypatch.delattr(module, name)
        for method in map(inspect.unwrap, methods):
            names = method.__code__.co_names
            assert name in names
            code = method.__code__.replace(co_names=tuple(new if n == name else n for n in names))
            monkeypatch.setattr(method, "__code__", code)

    return do


@pytest.fixture
def future(rename, store, caplog):
    """A pyspark whose fold function has another name; what was warned of."""
    rename(tuning, "_parallelFitTasks", CrossValidator._fit, TrainValidationSplit._fit)
    caplog.set_level(logging.WARNING, logger="trackmllib")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "trackmllib"]


@pytest.mark.parametrize("kind", [CrossValidator, TrainValidationSplit])
def test_a_search_is_recorded_from_its_model(points, store, future, kind):
    trackmllib.autolog()
    params = {"numFolds": 2} if kind is CrossValidator else {}
    eva = StubEvaluator()
    model = stub_search(kind=kind, eva=eva, parallelism=2, **params).fit(points)
    main = store.only_main_run()
    assert main.info.status == "FINISHED"
    assert main.data.params["best_x"] == "3.0"
    children = store.children(main)
    assert [c.data.params["x"] for c in children] == ["1.0", "2.0", "3.0"]
    assert {c.info.status for c in children} == {"FINISHED"}
    assert [c.data.tags.get("trackmllib.best") for c in children] == [None, None, "true"]
    if kind is CrossValidator:
        assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
        assert [c.data.metrics["std_stub"] for c in children] == list(model.stdMetrics)
    else:
        assert [c.data.metrics["stub"] for c in children] == list(model.validationMetrics)
    # What was not seen is not said.
    assert not any("seconds" in key for run in (main, *children) for key in run.data.metrics)
    assert len(store.runs()) == 4


def test_it_is_said_once_and_why(points, store, future):
    trackmllib.autolog()
    trackmllib.autolog()
    stub_search(numFolds=2).fit(points)
    stub_search(numFolds=2).fit(points)
    (warning,) = future()
    page = (ROOT / "docs/compatibility.md").read_text(encoding="utf-8")
    assert warning.replace(pyspark.__version__, "5.0.0") in page
    assert len(store.main_runs()) == 2


def test_the_search_gives_what_it_gives_without_recording(points, store, future):
    trackmllib.autolog()
    recorded = regression_search(TrainValidationSplit).fit(points)
    trackmllib.autolog(disable=True)
    alone = regression_search(TrainValidationSplit).fit(points)
    assert recorded.validationMetrics == alone.validationMetrics
    assert recorded.bestModel.coefficients == alone.bestModel.coefficients
    assert len(store.runs()) == 4


def test_an_error_of_the_estimator_is_raised_and_recorded(points, store, future):
    trackmllib.autolog()
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as raised:
        stub_search(est=StubEstimator(fail={2.0: error}), numFolds=2).fit(points)
    assert raised.value is error
    assert {r.info.status for r in store.runs()} <= {"FAILED", "KILLED"}
    assert store.only_main_run().info.status == "FAILED"


def test_the_winner_is_the_one_that_the_model_is_of(points, store, future, monkeypatch):
    """Whether a later Spark still chooses as this one does, nobody knows."""
    original = CrossValidator._fit

    @functools.wraps(original)
    def fit_and_take_the_first(self, dataset):
        model = original(self, dataset)
        best = self.getEstimator().fit(dataset, self.getEstimatorParamMaps()[0])
        return CrossValidatorModel(best, model.avgMetrics, [], model.stdMetrics)

    monkeypatch.setattr(CrossValidator, "_fit", fit_and_take_the_first)
    trackmllib.autolog()
    stub_search(numFolds=2).fit(points)
    assert store.only_main_run().data.params["best_x"] == "1.0"


def test_what_is_logged_inside_of_the_search_is_on_its_run(points, store, future):
    trackmllib.autolog()
    eva = StubEvaluator(call=lambda prediction: mlflow.log_metric("mine", prediction.x))
    stub_search(eva=eva, numFolds=2, parallelism=2).fit(points)
    (main,) = [r for r in store.main_runs() if "trackmllib.search_id" in r.data.tags]
    mine = sorted(value for _, value in store.history(main, "mine"))
    assert mine == ([1, 1, 2, 2, 3, 3] if THREADS_ARE_TOLD else [])
    assert (len(store.runs()) == 4) is THREADS_ARE_TOLD


@pytest.mark.filterwarnings("ignore")
def test_the_fits_of_the_search_are_not_recorded_by_mlflow(points, store, future):
    import mlflow.pyspark.ml

    trackmllib.autolog()
    mlflow.pyspark.ml.autolog(log_models=False, log_datasets=False)
    try:
        regression_search(TrainValidationSplit, parallelism=2).fit(points)
    finally:
        mlflow.pyspark.ml.autolog(disable=True)
    (main,) = [r for r in store.main_runs() if "trackmllib.search_id" in r.data.tags]
    assert len(store.children(main)) == 3
    assert (len(store.runs()) == 4) is THREADS_ARE_TOLD


def _without_averages(monkeypatch):
    monkeypatch.delattr(CrossValidator, "_gen_avg_and_std_metrics")


def _with_medians(monkeypatch):
    median = staticmethod(lambda table: (np.median(table, axis=0), np.std(table, axis=0)))
    monkeypatch.setattr(CrossValidator, "_gen_avg_and_std_metrics", median)


def _with_other_arguments(monkeypatch):
    original = tuning._parallelFitTasks

    def fold(train, est, eva, validation, epm, collectSubModel):
        return original(est, train, eva, validation, epm, collectSubModel)

    fold.__module__ = "pyspark.ml.tuning"
    monkeypatch.setattr(tuning, "_parallelFitTasks", fold)


def _with_a_fold_that_looks_at_its_estimator(monkeypatch):
    original = tuning._parallelFitTasks

    def fold(est, train, eva, validation, epm, collectSubModel):
        assert isinstance(est, Estimator)
        return original(est, train, eva, validation, epm, collectSubModel)

    fold.__module__ = "pyspark.ml.tuning"
    monkeypatch.setattr(tuning, "_parallelFitTasks", fold)


def _without_the_iterator(monkeypatch):
    monkeypatch.delattr(base, "_FitMultipleIterator")


def _with_another_iterator(monkeypatch):
    class Iterator(base._FitMultipleIterator):
        def __init__(self, fit, count):
            super().__init__(lambda index: fit(index, count), count)

    monkeypatch.setattr(base, "_FitMultipleIterator", Iterator)


def _with_other_threads(monkeypatch):
    def target(function, session):
        return function

    target.__module__ = "pyspark.util"
    monkeypatch.setattr(classification, "inheritable_thread_target", target)


def _without_the_threads(monkeypatch):
    monkeypatch.delattr(classification, "inheritable_thread_target")


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (_with_other_arguments, "_parallelFitTasks is missing or does something else"),
        (
            _with_a_fold_that_looks_at_its_estimator,
            "_parallelFitTasks is missing or does something else",
        ),
        (_without_averages, "CrossValidator averages in another way"),
        (_with_medians, "CrossValidator averages in another way"),
        (_without_the_iterator, "_FitMultipleIterator is missing or does something else"),
        (_with_another_iterator, "_FitMultipleIterator is missing or does something else"),
        (_without_the_threads, "OneVsRest starts its threads in another way"),
        (_with_other_threads, "OneVsRest starts its threads in another way"),
    ],
)
def test_each_difference_is_seen_and_leaves_the_fold_function_alone(
    monkeypatch, store, caplog, change, difference
):
    assert differences() == []
    change(monkeypatch)
    assert differences() == [difference]
    trackmllib.autolog()
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert f"({difference})" in warning
    assert is_patched(CrossValidator.fit)
    assert is_patched(TrainValidationSplit.fit)
    assert not is_patched(tuning._parallelFitTasks)
    known = difference != "OneVsRest starts its threads in another way"
    threads = getattr(classification, "inheritable_thread_target", None)
    assert is_patched(threads) is known


def test_tuners_that_no_longer_call_the_fold_function(rename, monkeypatch):
    before = tuning._parallelFitTasks
    rename(tuning, "_parallelFitTasks", TrainValidationSplit._fit)
    monkeypatch.setattr(tuning, "_parallelFitTasks", before, raising=False)
    assert differences() == ["the tuners do not call _parallelFitTasks"]


def test_one_vs_rest_that_asks_another_function_for_its_threads(rename, monkeypatch):
    before = classification.inheritable_thread_target
    rename(classification, "inheritable_thread_target", OneVsRest._fit)
    monkeypatch.setattr(classification, "inheritable_thread_target", before, raising=False)
    assert differences() == ["OneVsRest starts its threads in another way"]


def test_what_another_tool_puts_in_says_nothing_about_pyspark(points, store, monkeypatch, caplog):
    """It is called as before, and the folds are seen."""
    original, calls = tuning._parallelFitTasks, []

    def fold(*args, **kwargs):
        calls.append(args)
        return original(*args, **kwargs)

    monkeypatch.setattr(tuning, "_parallelFitTasks", fold)
    trackmllib.autolog()
    assert calls == []
    stub_search(numFolds=2).fit(points)
    assert len(calls) == 2
    children = store.children(store.only_main_run())
    assert [len(store.history(c, "stub")) for c in children] == [2, 2, 2]
    assert [r for r in caplog.records if r.name == "trackmllib"] == []


def test_nothing_private_of_pyspark_is_needed_to_switch_recording_on():
    """All of it is gone before trackmllib is imported."""
    code = """
        import logging, sys
        from pyspark.ml import base, classification, tuning
        del base._FitMultipleIterator, tuning._parallelFitTasks
        del classification.inheritable_thread_target, tuning.inheritable_thread_target
        del tuning.CrossValidator._gen_avg_and_std_metrics
        logging.basicConfig(format="%(message)s")
        import trackmllib
        trackmllib.autolog()
    """
    done = finished([sys.executable, "-c", inspect.cleandoc(code)], environ())
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is not as trackmllib knows it") == 1
    assert "ImportError" not in done.stderr
