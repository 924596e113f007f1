"""Incompatible pyspark: one warning, and searches recorded from their models."""

from __future__ import annotations

import functools
import inspect
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
from support.commands import environ, finished
from support.searches import regression_search, stub_search
from support.stubs import StubEstimator, StubEvaluator
from trackmllib.spark.instrumentation.compat import differences
from trackmllib.support.patching import is_patched

pytestmark = pytest.mark.matrix

ROOT = Path(__file__).parents[2]

# Spark 3.5 wraps its tasks in a thread of the pool, where trackmllib cannot find the search.
THREADS_KNOW_THE_SEARCH = not pyspark.__version__.startswith("3.")


@pytest.fixture
def rename(monkeypatch):
    """Return a function that renames a function of a pyspark module and its uses in methods."""

    def rename_in(module, name: str, *methods) -> None:
        new = f"{name}2"
        monkeypatch.setattr(module, new, getattr(module, name), raising=False)
        monkeypatch.delattr(module, name)
        for method in map(inspect.unwrap, methods):
            names = method.__code__.co_names
            assert name in names
            code = method.__code__.replace(co_names=tuple(new if n == name else n for n in names))
            monkeypatch.setattr(method, "__code__", code)

    return rename_in


@pytest.fixture
def changed_pyspark(rename, store):
    """A pyspark whose fold function has another name."""
    rename(tuning, "_parallelFitTasks", CrossValidator._fit, TrainValidationSplit._fit)


@pytest.mark.parametrize("kind", [CrossValidator, TrainValidationSplit])
def test_search_is_recorded_from_its_model(points, store, changed_pyspark, kind):
    trackmllib.autolog()
    params = {"numFolds": 2} if kind is CrossValidator else {}
    eva = StubEvaluator()
    model = stub_search(kind=kind, eva=eva, parallelism=2, **params).fit(points)
    parent = store.only_parent_run()
    assert parent.info.status == "FINISHED"
    assert parent.data.params["best_x"] == "3.0"
    children = store.children(parent)
    assert [c.data.params["x"] for c in children] == ["1.0", "2.0", "3.0"]
    assert {c.info.status for c in children} == {"FINISHED"}
    assert [c.data.tags.get("trackmllib.best") for c in children] == [None, None, "true"]
    if kind is CrossValidator:
        assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
        assert [c.data.metrics["std_stub"] for c in children] == list(model.stdMetrics)
    else:
        assert [c.data.metrics["stub"] for c in children] == list(model.validationMetrics)
    # Unobserved fits have no times.
    assert not any("seconds" in key for run in (parent, *children) for key in run.data.metrics)
    assert len(store.runs()) == 4


def test_difference_warns_once_with_its_reason(points, store, changed_pyspark, logged_warnings):
    trackmllib.autolog()
    trackmllib.autolog()
    stub_search(numFolds=2).fit(points)
    stub_search(numFolds=2).fit(points)
    (warning,) = logged_warnings()
    page = (ROOT / "docs/reference/compatibility.md").read_text(encoding="utf-8")
    assert warning.replace(pyspark.__version__, "5.0.0") in page
    assert len(store.parent_runs()) == 2


@pytest.mark.slow
def test_results_equal_those_without_recording(points, store, changed_pyspark):
    trackmllib.autolog()
    recorded = regression_search(TrainValidationSplit).fit(points)
    trackmllib.autolog(disable=True)
    alone = regression_search(TrainValidationSplit).fit(points)
    assert recorded.validationMetrics == alone.validationMetrics
    assert recorded.bestModel.coefficients == alone.bestModel.coefficients
    assert len(store.runs()) == 4


def test_estimator_error_is_raised_and_recorded(points, store, changed_pyspark):
    trackmllib.autolog()
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as raised:
        stub_search(est=StubEstimator(fail={2.0: error}), numFolds=2).fit(points)
    assert raised.value is error
    assert {r.info.status for r in store.runs()} <= {"FAILED", "KILLED"}
    assert store.only_parent_run().info.status == "FAILED"


def test_winner_is_derived_from_the_model(points, store, changed_pyspark, monkeypatch):
    """A later Spark may choose the winner differently."""
    original = CrossValidator._fit

    @functools.wraps(original)
    def fit_and_take_the_first(self, dataset):
        model = original(self, dataset)
        best = self.getEstimator().fit(dataset, self.getEstimatorParamMaps()[0])
        return CrossValidatorModel(best, model.avgMetrics, [], model.stdMetrics)

    monkeypatch.setattr(CrossValidator, "_fit", fit_and_take_the_first)
    trackmllib.autolog()
    stub_search(numFolds=2).fit(points)
    assert store.only_parent_run().data.params["best_x"] == "1.0"


def test_calls_in_a_fit_log_to_the_parent_run(points, store, changed_pyspark):
    trackmllib.autolog()
    eva = StubEvaluator(call=lambda prediction: mlflow.log_metric("mine", prediction.x))
    stub_search(eva=eva, numFolds=2, parallelism=2).fit(points)
    (parent,) = [r for r in store.parent_runs() if "trackmllib.search_id" in r.data.tags]
    mine = sorted(value for _, value in store.history(parent, "mine"))
    assert mine == ([1, 1, 2, 2, 3, 3] if THREADS_KNOW_THE_SEARCH else [])
    assert (len(store.runs()) == 4) is THREADS_KNOW_THE_SEARCH


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_does_not_record_the_fits_of_a_search(
    points, store, changed_pyspark, mlflow_autolog
):
    trackmllib.autolog()
    mlflow_autolog()
    regression_search(TrainValidationSplit, parallelism=2).fit(points)
    (parent,) = [r for r in store.parent_runs() if "trackmllib.search_id" in r.data.tags]
    assert len(store.children(parent)) == 3
    assert (len(store.runs()) == 4) is THREADS_KNOW_THE_SEARCH


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
def test_each_difference_is_detected_and_fold_function_stays_unpatched(
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


def test_tuners_that_do_not_call_the_fold_function_are_detected(rename, monkeypatch):
    before = tuning._parallelFitTasks
    rename(tuning, "_parallelFitTasks", TrainValidationSplit._fit)
    monkeypatch.setattr(tuning, "_parallelFitTasks", before, raising=False)
    assert differences() == ["the tuners do not call _parallelFitTasks"]


def test_one_vs_rest_with_another_thread_function_is_detected(rename, monkeypatch):
    before = classification.inheritable_thread_target
    rename(classification, "inheritable_thread_target", OneVsRest._fit)
    monkeypatch.setattr(classification, "inheritable_thread_target", before, raising=False)
    assert differences() == ["OneVsRest starts its threads in another way"]


def test_patch_of_another_tool_is_no_difference(points, store, monkeypatch, caplog):
    """The patch is still called, and the folds are recorded."""
    original, calls = tuning._parallelFitTasks, []

    def fold(*args, **kwargs):
        calls.append(args)
        return original(*args, **kwargs)

    monkeypatch.setattr(tuning, "_parallelFitTasks", fold)
    trackmllib.autolog()
    assert calls == []
    stub_search(numFolds=2).fit(points)
    assert len(calls) == 2
    children = store.children(store.only_parent_run())
    assert [len(store.history(c, "stub")) for c in children] == [2, 2, 2]
    assert [r for r in caplog.records if r.name == "trackmllib"] == []


@pytest.mark.slow
def test_autolog_needs_no_private_name_of_pyspark():
    """All private names are deleted before trackmllib is imported."""
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
    assert done.stderr.count("trackmllib does not support pyspark") == 1
    assert "ImportError" not in done.stderr
