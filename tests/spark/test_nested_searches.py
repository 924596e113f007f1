"""Nested searches: complete records, nested under the fit that ran them."""

from __future__ import annotations

import mlflow
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import (
    LinearSVC,
    LogisticRegression,
    OneVsRest,
    RandomForestClassifier,
)
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit

import trackmllib
from support.searches import regression_search, stub_search, stub_split
from support.sqlite_store import sqlite_store
from support.stubs import SearchingEstimator, StubEstimator, StubEvaluator

pytestmark = [pytest.mark.matrix, pytest.mark.postgres]


def searching(inner, parallelism=1, xs=(1.0, 2.0), **params):
    est = SearchingEstimator(inner)
    grid = ParamGridBuilder().addGrid(est.x, list(xs)).build()
    return CrossValidator(
        estimator=est,
        estimatorParamMaps=grid,
        evaluator=StubEvaluator(),
        numFolds=2,
        parallelism=parallelism,
        **params,
    )


@pytest.mark.parametrize("parallelism", [1, 4])
def test_inner_search_is_nested_under_its_fit(points, recorded, parallelism):
    inner = stub_search(xs=(5.0, 6.0), numFolds=2)
    model = searching(inner, parallelism).fit(points)
    (parent,) = recorded.parent_runs()
    children = recorded.children(parent)
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    for candidate, child in enumerate(children):
        searches = recorded.inner(child)
        assert [s.info.run_name for s in searches] == [
            "CrossValidator: StubEstimator (fold 0)",
            "CrossValidator: StubEstimator (fold 1)",
        ]
        assert set(child.data.params) == {"x"}
        assert len(recorded.history(child, "stub")) == 2
        for fold, search in enumerate(searches):
            assert search.info.status == "FINISHED"
            assert search.data.tags["trackmllib.fold"] == str(fold)
            outer_id = parent.data.tags["trackmllib.search_id"]
            assert search.data.tags["trackmllib.parent_search_id"] == outer_id
            fit = {"search_id": outer_id, "candidate": candidate, "fold": fold, "refit": False}
            assert recorded.json(search, "trackmllib/search.json")["inside_of"] == fit
            assert child.info.start_time <= search.info.start_time
            assert search.info.end_time <= child.info.end_time
            inner_children = recorded.children(search)
            assert [c.info.run_name for c in inner_children] == ["x=5.0", "x=6.0"]
            assert [len(recorded.history(c, "stub")) for c in inner_children] == [2, 2]
            assert {c.info.status for c in inner_children} == {"FINISHED"}
            assert len(recorded.results(search)) == 2
    (refit,) = recorded.inner(parent)
    assert refit.info.run_name == "CrossValidator: StubEstimator (refit)"
    assert len(recorded.children(refit)) == 2


@pytest.mark.slow
def test_inner_searches_do_not_change_the_outer_record(points, recorded):
    alone = stub_search(xs=(1.0, 2.0), numFolds=2, seed=3)
    alone.fit(points)
    nested = searching(stub_search(), xs=(1.0, 2.0), seed=3)
    nested.fit(points)
    first, second = sorted(recorded.parent_runs(), key=lambda r: r.info.start_time)
    one = {k: v for k, v in first.data.params.items() if k != "estimator"}
    assert one == {k: v for k, v in second.data.params.items() if k != "estimator"}
    assert set(first.data.metrics) == set(second.data.metrics)
    assert first.data.metrics["fits_finished"] == second.data.metrics["fits_finished"]
    for a, b in zip(recorded.children(first), recorded.children(second), strict=True):
        assert (a.info.run_name, a.data.params) == (b.info.run_name, b.data.params)
        assert set(a.data.metrics) == set(b.data.metrics)
        assert recorded.history(a, "stub") == recorded.history(b, "stub")


@pytest.mark.slow
def test_three_levels_of_searches_are_nested(points, recorded):
    lowest = stub_split(xs=(7.0,))
    search = searching(searching(lowest, xs=(3.0,)), xs=(1.0,))
    search.fit(points)
    (parent,) = recorded.parent_runs()
    (child,) = recorded.children(parent)
    middle = recorded.inner(child)
    assert len(middle) == 2
    (grandchild,) = recorded.children(middle[0])
    names = [r.info.run_name for r in recorded.inner(grandchild)]
    assert names == [
        "TrainValidationSplit: StubEstimator (fold 0)",
        "TrainValidationSplit: StubEstimator (fold 1)",
    ]
    (refit,) = recorded.inner(middle[0])
    assert refit.info.run_name == "TrainValidationSplit: StubEstimator (refit)"
    assert {r.info.status for r in recorded.runs()} == {"FINISHED"}


@pytest.mark.slow
def test_tuner_in_the_pipeline_of_a_tuner(points, recorded):
    inner_est = LogisticRegression(maxIter=2)
    inner = TrainValidationSplit(
        estimator=inner_est,
        estimatorParamMaps=ParamGridBuilder().addGrid(inner_est.regParam, [0.0, 0.1]).build(),
        evaluator=MulticlassClassificationEvaluator(metricName="logLoss"),
        seed=1,
        # The outer search copies its model, which Spark can do only with these.
        collectSubModels=True,
    )
    outer = CrossValidator(
        estimator=Pipeline(stages=[inner]),
        estimatorParamMaps=ParamGridBuilder()
        .addGrid(inner_est.fitIntercept, [True, False])
        .build(),
        evaluator=MulticlassClassificationEvaluator(metricName="accuracy"),
        numFolds=2,
        seed=1,
    )
    model = outer.fit(points)
    (parent,) = recorded.parent_runs()
    children = recorded.children(parent)
    assert [c.info.run_name for c in children] == ["fitIntercept=True", "fitIntercept=False"]
    assert [c.data.metrics["avg_accuracy"] for c in children] == list(model.avgMetrics)
    assert not any("logLoss" in name for c in children for name in c.data.metrics)
    searches = [s for c in children for s in recorded.inner(c)]
    assert [s.data.params["metric"] for s in searches] == ["logLoss"] * 4
    assert [len(recorded.children(s)) for s in searches] == [2] * 4
    (refit,) = recorded.inner(parent)
    best = model.bestModel.stages[0]
    assert [c.data.metrics["logLoss"] for c in recorded.children(refit)] == best.validationMetrics


@pytest.mark.slow
def test_tuner_in_a_plain_pipeline_has_a_parent_run(points, recorded):
    model = Pipeline(stages=[regression_search()]).fit(points)
    (parent,) = recorded.parent_runs()
    assert "mlflow.parentRunId" not in parent.data.tags
    averages = [c.data.metrics["avg_logLoss"] for c in recorded.children(parent)]
    assert averages == model.stages[0].avgMetrics


@pytest.mark.slow
@pytest.mark.parametrize("parallelism", [1, 2])
def test_one_vs_rest_and_ensembles_in_a_candidate_start_no_runs(
    points, recorded, mlflow_autolog, parallelism
):
    mlflow_autolog(silent=True)
    svc = LinearSVC(maxIter=1)
    forest = RandomForestClassifier(numTrees=2, seed=1, rawPredictionCol="rawForest")
    each = OneVsRest(classifier=svc, parallelism=2, predictionCol="each")
    search = CrossValidator(
        estimator=Pipeline(stages=[each, forest]),
        estimatorParamMaps=ParamGridBuilder().addGrid(svc.regParam, [0.0, 0.1]).build(),
        evaluator=MulticlassClassificationEvaluator(),
        numFolds=2,
        parallelism=parallelism,
    )
    search.fit(points)
    assert len(recorded.runs()) == 3


class FirstAnotherInFit(CrossValidator):
    """Runs another search first, in its own ``fit``."""

    def fit(self, dataset, params=None):
        stub_search(xs=(5.0, 6.0), numFolds=2).fit(dataset)
        return super().fit(dataset, params)


class FirstAnother(CrossValidator):
    """Runs another search first, in its own ``_fit``."""

    def _fit(self, dataset):
        stub_search(xs=(5.0, 6.0), numFolds=2).fit(dataset)
        return super()._fit(dataset)


@pytest.mark.parametrize("kind", [FirstAnotherInFit, FirstAnother])
def test_search_in_the_fit_of_a_subclass_is_nested(points, recorded, kind):
    model = stub_search(kind=kind, numFolds=2).fit(points)
    (parent,) = recorded.parent_runs()
    assert parent.info.run_name == f"{kind.__name__}: StubEstimator"
    children = recorded.children(parent)
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    assert [len(recorded.history(c, "stub")) for c in children] == [2, 2, 2]
    (inner,) = recorded.inner(parent)
    assert inner.info.run_name == "CrossValidator: StubEstimator"
    assert len(recorded.children(inner)) == 2
    assert {run.info.status for run in recorded.runs()} == {"FINISHED"}


def test_failed_inner_search_fails_its_fit(points, recorded):
    inner = stub_search(est=StubEstimator(fail={6.0: ValueError("inner")}), xs=(5.0, 6.0))
    with pytest.raises(ValueError, match="inner"):
        searching(inner).fit(points)
    (parent,) = recorded.parent_runs()
    # Spark's pool may have started the second candidate before the first one failed.
    child, *_ = recorded.children(parent)
    (search,) = recorded.inner(child)
    assert [r.info.status for r in (parent, child, search)] == ["FAILED"] * 3
    assert search.data.tags["trackmllib.error"] == "ValueError: inner"
    assert [c.info.status for c in recorded.children(search)] == ["KILLED", "FAILED"]


def test_inner_search_is_recorded_on_the_server_of_the_outer(
    points, recorded, sqlite_uri, tmp_path
):
    class Elsewhere(StubEstimator):
        def _fit(self, dataset):
            mlflow.set_tracking_uri(sqlite_store(tmp_path, "other.db"))
            try:
                stub_search(xs=(5.0,)).fit(dataset)
            finally:
                mlflow.set_tracking_uri(sqlite_uri)
            return super()._fit(dataset)

    stub_search(est=Elsewhere(), xs=(1.0,), numFolds=2).fit(points)
    (parent,) = recorded.parent_runs()
    (child,) = recorded.children(parent)
    assert len(recorded.inner(child)) == 2


def test_only_the_outermost_search_waits_for_delivery(points, lenient, caplog):
    """Only the outermost ``fit()`` warns of the timeout."""
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    trackmllib.autolog(flush_timeout=0)
    searching(stub_search(xs=(5.0,)), xs=(1.0,)).fit(points)
    messages = [r.getMessage() for r in caplog.records if r.name == "trackmllib"]
    assert len(messages) == 1
    assert "operations are not delivered after 0 s" in messages[0]
