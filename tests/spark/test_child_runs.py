"""Child runs: one per candidate, exact and live."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import mlflow
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import HashingTF, Tokenizer, VectorAssembler
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit

import trackmllib
from support.searches import regression_search, stub_search, stub_split, tree_search
from support.stubs import NamelessEvaluator, StubEstimator, StubEvaluator
from support.waiting import wait_until

pytestmark = [
    pytest.mark.versions,
    pytest.mark.matrix,
    pytest.mark.postgres,
    pytest.mark.file_store,
]


def assert_exact(store, model):
    parent = store.only_parent_run()
    children = store.children(parent)
    metric = parent.data.params["metric"]
    assert [c.data.metrics[f"avg_{metric}"] for c in children] == list(model.avgMetrics)
    assert [c.data.metrics[f"std_{metric}"] for c in children] == list(model.stdMetrics)
    for child in children:
        assert [step for step, _ in store.history(child, metric)] == [0, 1]
        for key in ("fit_seconds", "evaluate_seconds"):
            points = store.history(child, key)
            assert [step for step, _ in points] == [0, 1]
            assert all(value > 0 for _, value in points)


def test_averages_and_deviations_of_a_pipeline_are_exact(points, any_store):
    trackmllib.autolog()
    assert_exact(any_store, tree_search(parallelism=2).fit(points))


@pytest.mark.slow
@pytest.mark.parametrize("parallelism", [1, 8])
def test_averages_and_deviations_of_a_regression_are_exact(points, recorded, parallelism):
    assert_exact(recorded, regression_search(parallelism=parallelism).fit(points))


@pytest.mark.slow
def test_score_of_a_split_is_exact(points, recorded):
    model = regression_search(TrainValidationSplit).fit(points)
    children = recorded.children(recorded.only_parent_run())
    metric = "logLoss"
    assert [c.data.metrics[metric] for c in children] == list(model.validationMetrics)
    assert not any(k.startswith(("avg_", "std_")) for c in children for k in c.data.metrics)


@pytest.mark.parametrize("folds", [2, 9, 17])
@pytest.mark.parametrize("candidates", [1, 2, 5])
def test_averages_are_exact_for_many_folds(points, recorded, folds, candidates):
    xs = [0.1 * n for n in range(candidates)]
    model = stub_search(xs=xs, numFolds=folds, parallelism=2).fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert [c.data.metrics["avg_stub"] for c in children] == list(model.avgMetrics)
    assert [c.data.metrics["std_stub"] for c in children] == list(model.stdMetrics)
    # One point each: nothing was corrected at the end.
    assert all(len(recorded.history(c, "avg_stub")) == 1 for c in children)


@pytest.mark.slow
def test_child_run_has_name_and_params_of_its_candidate(points, recorded):
    model = tree_search(TrainValidationSplit).fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert [c.info.run_name for c in children] == [
        "maxDepth=1, maxBins=4",
        "maxDepth=1, maxBins=8",
        "maxDepth=3, maxBins=4",
        "maxDepth=3, maxBins=8",
    ]
    assert [c.data.params for c in children][1] == {"maxDepth": "1", "maxBins": "8"}
    found = recorded.client.search_runs([recorded.experiment_id], 'params.maxBins = "8"')
    assert {r.info.run_id for r in found} == {children[1].info.run_id, children[3].info.run_id}
    search_id = parent.data.tags["trackmllib.search_id"]
    assert [c.data.tags["trackmllib.candidate"] for c in children] == ["0", "1", "2", "3"]
    assert {c.data.tags["trackmllib.search_id"] for c in children} == {search_id}
    marks = [c.data.tags.get("trackmllib.best") for c in children]
    best = max(range(4), key=lambda i: model.validationMetrics[i])
    assert marks == ["true" if i == best else None for i in range(4)]


def test_winner_is_marked_before_the_refit_ends(points, recorded):
    seen = {}

    class SlowRefit(StubEstimator):
        def _fit(self, dataset):
            if not dataset.is_cached:  # only the refit gets the user's own data
                deadline = time.monotonic() + 20
                while not seen.get("best") and time.monotonic() < deadline:
                    # A file store does not show the parent of a run that is being created.
                    seen["best"] = [
                        run.info.run_name
                        for run in recorded.runs()
                        if run.data.tags.get("trackmllib.best") == "true"
                    ]
            return super()._fit(dataset)

    stub_search(est=SlowRefit(), numFolds=2).fit(points)
    assert seen["best"] == ["x=3.0"]


def test_start_and_end_times_are_measured(points, recorded):
    before = int(time.time() * 1000)
    stub_search(est=StubEstimator(fitSeconds=0.1), numFolds=2).fit(points)
    after = int(time.time() * 1000)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert before <= parent.info.start_time <= children[0].info.start_time
    starts = [c.info.start_time for c in children]
    assert starts == sorted(starts)
    assert starts[1] - starts[0] >= 100
    for child in children:
        # First fold to last: two more candidates were fitted in between.
        assert 390 <= child.info.end_time - child.info.start_time <= after - before
        for m in recorded.client.get_metric_history(child.info.run_id, "stub"):
            assert child.info.start_time <= m.timestamp <= child.info.end_time
    assert children[-1].info.end_time <= parent.info.end_time <= after


def test_times_are_measured_even_if_delivered_late(points, recorded, monkeypatch):
    from trackmllib.tracking.executor import MlflowExecutor

    apply = MlflowExecutor.apply
    first = threading.Event()

    def late(self, operation, again=False):
        if not first.is_set():
            time.sleep(1.5)
            first.set()
        apply(self, operation, again)

    monkeypatch.setattr(MlflowExecutor, "apply", late)
    began = int(time.time() * 1000)
    stub_search(numFolds=2).fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert all(c.info.end_time - began < 1400 for c in children)


@pytest.mark.slow
def test_second_process_sees_half_of_the_search_halfway(points, any_store):
    """Another process sees RUNNING child runs with the scores so far."""
    look = (
        "import sys, json, mlflow\n"
        "c = mlflow.MlflowClient(sys.argv[1])\n"
        "e = c.get_experiment_by_name(sys.argv[2]).experiment_id\n"
        "rows = [r for r in c.search_runs([e]) if 'mlflow.parentRunId' in r.data.tags]\n"
        "rows.sort(key=lambda r: int(r.data.tags['trackmllib.candidate']))\n"
        "print(json.dumps([[r.info.run_name, r.info.status, r.data.metrics.get('stub'),\n"
        "      len(c.get_metric_history(r.info.run_id, 'stub'))] for r in rows]))\n"
    )
    seen = []

    def halfway(prediction):
        if len(evaluator.returned) == 4:  # one fold of three is done, the second one has begun
            time.sleep(1.0)
            output = subprocess.run(
                [sys.executable, "-c", look, any_store.uri, any_store.experiment],
                capture_output=True,
                text=True,
                check=True,
                timeout=120,
            ).stdout
            seen.extend(json.loads(output.splitlines()[-1]))

    evaluator = StubEvaluator(call=halfway)
    trackmllib.autolog()
    stub_search(eva=evaluator, numFolds=2).fit(points)
    first_fold = [score for _, score in evaluator.returned[:4]]
    assert seen == [
        ["x=1.0", "FINISHED", first_fold[3], 2],
        ["x=2.0", "RUNNING", first_fold[1], 1],
        ["x=3.0", "RUNNING", first_fold[2], 1],
    ]


def test_child_run_starts_with_its_first_fit(points, recorded):
    counts = []

    def children():
        return recorded.children(recorded.only_parent_run())

    def count(prediction):
        # A SQLite file gets what is gathered in a second.
        wait_until(lambda: len(children()) > len(counts), seconds=5)
        counts.append(len(children()))

    stub_split(eva=StubEvaluator(call=count)).fit(points)
    assert counts == [1, 2, 3]


def test_params_with_the_same_name_are_qualified_by_class(points, recorded):
    first = StubEstimator()
    other = LogisticRegression()
    maps = [{first.x: 1.0, other.regParam: 0.1}, {first.x: 2.0, other.regParam: 0.2}]
    second = OtherStub()
    maps = [{**m, second.x: 5.0} for m in maps]
    CrossValidator(
        estimator=first, estimatorParamMaps=maps, evaluator=StubEvaluator(), numFolds=2
    ).fit(points)
    child = recorded.children(recorded.only_parent_run())[0]
    assert child.data.params == {"StubEstimator.x": "1.0", "OtherStub.x": "5.0", "regParam": "0.1"}
    assert child.info.run_name == "StubEstimator.x=1.0, regParam=0.1, OtherStub.x=5.0"


class OtherStub(StubEstimator):
    """A second class with the params of the first."""


@pytest.mark.slow
def test_stages_of_one_class_are_qualified_by_position(spark, recorded):
    texts = spark.createDataFrame(
        [(f"w{i} w{i % 3}", float(i % 2)) for i in range(40)], ["text", "label"]
    )
    words = Tokenizer(inputCol="text", outputCol="words")
    one = HashingTF(inputCol="words", outputCol="one")
    two = HashingTF(inputCol="words", outputCol="two")
    pipeline = Pipeline(
        stages=[
            words,
            one,
            two,
            VectorAssembler(inputCols=["one", "two"], outputCol="features"),
            LogisticRegression(maxIter=1),
        ]
    )
    grid = ParamGridBuilder().addGrid(one.numFeatures, [4]).addGrid(two.numFeatures, [8]).build()
    CrossValidator(
        estimator=pipeline,
        estimatorParamMaps=grid,
        evaluator=MulticlassClassificationEvaluator(),
        numFolds=2,
    ).fit(texts)
    parent = recorded.only_parent_run()
    (child,) = recorded.children(parent)
    assert child.info.run_name == "HashingTF[1].numFeatures=4, HashingTF[2].numFeatures=8"
    # MLflow refuses brackets in keys; each becomes an underscore.
    assert child.data.params == {
        "HashingTF_1_.numFeatures": "4",
        "HashingTF_2_.numFeatures": "8",
    }
    owners = recorded.json(parent, "trackmllib/search.json")["grid"]["params"]
    assert [(p["name"], p["stage"], p["stage_position"]) for p in owners] == [
        ("numFeatures", one.uid, "1"),
        ("numFeatures", two.uid, "2"),
    ]
    assert parent.data.params["best_HashingTF_1_.numFeatures"] == "4"


@pytest.mark.parametrize("evaluator", [NamelessEvaluator])
def test_unnamed_metric_gets_the_class_name_of_its_evaluator(points, recorded, evaluator):
    stub_search(eva=evaluator(), numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    assert parent.data.params["metric"] == "NamelessEvaluator"
    assert "avg_NamelessEvaluator" in recorded.children(parent)[0].data.metrics


def test_evaluator_without_get_metric_name_gives_its_class_name(points, recorded):
    from pyspark.ml.evaluation import Evaluator

    class Plain(Evaluator):
        def _evaluate(self, prediction):
            return prediction.x

    stub_search(eva=Plain(), numFolds=2).fit(points)
    assert recorded.only_parent_run().data.params["metric"] == "Plain"


def test_no_run_stays_running(points, recorded):
    with mlflow.start_run():
        stub_search(numFolds=2, parallelism=4).fit(points)
        statuses = {c.info.status for c in recorded.runs() if "mlflow.parentRunId" in c.data.tags}
    assert statuses == {"FINISHED"}
