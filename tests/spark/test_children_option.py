"""``children="best:N"`` and ``record=False``, on real Spark and real stores."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import mlflow
import pytest

import trackmllib
from support.searches import stub_search
from support.stubs import SearchingEstimator, StubEstimator, StubEvaluator

pytestmark = pytest.mark.versions

XS = (3.0, 1.0, 5.0, 2.0, 4.0)


def numbers(children) -> list[int]:
    return [int(child.data.tags["trackmllib.candidate"]) for child in children]


def test_best_two_of_five_candidates_have_runs(points, any_store):
    trackmllib.autolog(children="best:2")
    model = stub_search(xs=XS, numFolds=2, parallelism=2).fit(points)
    parent = any_store.only_parent_run()
    children = any_store.children(parent)
    assert len(any_store.runs()) == 3
    by_average = sorted(range(len(XS)), key=lambda index: -model.avgMetrics[index])
    assert numbers(children) == sorted(by_average[:2])
    for index, child in zip(numbers(children), children, strict=True):
        assert child.data.metrics["avg_stub"] == model.avgMetrics[index]
        assert child.info.status == "FINISHED"
        assert parent.info.start_time <= child.info.start_time <= child.info.end_time
    assert parent.data.tags["trackmllib.children"] == "best:2"
    rows = list(csv.DictReader(io.StringIO(any_store.text(parent, "trackmllib/results.csv"))))
    assert [float(row["average"]) for row in rows] == list(model.avgMetrics)
    # Loaded and live results are equal.
    live = trackmllib.results(model).to_pandas()
    loaded = trackmllib.load_results(parent.info.run_id, any_store.uri).to_pandas()
    assert live.equals(loaded)
    assert live["run_id"].notna().sum() == 2


def test_runs_of_the_best_equal_those_of_children_all(points, store):
    """Compares two searches with equal scores in everything but times and costs."""

    def kinds(run):
        own = ("trackmllib.search_id", "mlflow.parentRunId", "mlflow.runName")
        return (
            run.info.run_name,
            run.info.status,
            run.data.params,
            {key for key in run.data.metrics if not key.startswith("spark.")},
            {key: value for key, value in run.data.tags.items() if key not in own},
            {
                key: store.history(run, key)
                for key in run.data.metrics
                if key in ("stub", "avg_stub", "std_stub")
            },
            [len(store.history(run, key)) for key in ("fit_seconds", "evaluate_seconds")],
        )

    found = {}
    for children in ("all", "best:2"):
        trackmllib.autolog(children=children)
        with mlflow.start_run() as run:
            scores = {x: x / 8 for x in XS}
            stub_search(xs=XS, eva=StubEvaluator(scores=scores), numFolds=2).fit(points)
        made = store.children(run.info.run_id)
        found[children] = {n: kinds(child) for n, child in zip(numbers(made), made, strict=True)}
    assert sorted(found["best:2"]) == [2, 4]
    assert found["best:2"] == {index: found["all"][index] for index in (2, 4)}


def test_candidate_that_the_user_logs_to_has_a_run(points, any_store):
    trackmllib.autolog(children="best:1")

    def log(prediction):
        if prediction.x == 1.0:
            mlflow.log_metric("mine", prediction.x)

    scores = {x: x / 8 for x in XS}
    search = stub_search(xs=XS, eva=StubEvaluator(scores=scores, call=log), numFolds=2)
    search.fit(points)
    children = any_store.children(any_store.only_parent_run())
    assert numbers(children) == [1, 2]
    assert any_store.history(children[0], "mine") == [(0, 1.0), (1, 1.0)]
    assert any_store.history(children[0], "stub") == [(0, 1.0 / 8), (1, 1.0 / 8)]
    assert [child.info.status for child in children] == ["FINISHED", "FINISHED"]


def test_failed_candidate_has_a_run_with_its_error(points, recorded):
    trackmllib.autolog(children="best:1")
    search = stub_search(xs=XS, est=StubEstimator(fail={2.0: ValueError("no\nline")}), numFolds=2)
    with pytest.raises(ValueError, match="no"):
        search.fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert 3 in numbers(children)
    assert len(children) <= 2
    failed = children[numbers(children).index(3)]
    assert failed.info.status == "FAILED"
    assert failed.data.tags["trackmllib.error"] == "ValueError: no"
    assert recorded.text(failed, "trackmllib/traceback.txt").endswith("line\n")


def test_nested_search_is_nested_under_a_child_run(points, recorded):
    trackmllib.autolog(children="best:1")
    search = stub_search(xs=(1.0, 2.0), est=SearchingEstimator(stub_search()), numFolds=2)
    search.fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert numbers(children) == [0, 1]
    for child in children:
        inner = recorded.inner(child)
        assert len(inner) == 2
        assert all(len(recorded.children(run)) == 1 for run in inner)


@pytest.mark.parametrize("way", ["argument", "conf"])
def test_unrecorded_search_leaves_only_its_results(points, store, spark, way, tmp_path):
    seen = []

    def look(prediction):
        seen.append(mlflow.active_run())

    if way == "argument":
        trackmllib.autolog(record=False)
    else:
        trackmllib.autolog()
        spark.conf.set("spark.trackmllib.record", "false")
    try:
        model = stub_search(xs=XS, eva=StubEvaluator(call=look), numFolds=2).fit(points)
    finally:
        spark.conf.unset("spark.trackmllib.record")
    assert store.runs() == []
    assert set(seen) == {None}
    assert not [path for path in Path(tmp_path, "home").glob("**/*") if path.is_file()]
    frame = trackmllib.results(model).to_pandas()
    assert list(frame["average"]) == list(model.avgMetrics)
    assert frame["run_id"].isna().all()


def test_mlflow_autologging_is_unchanged_in_unrecorded_searches(points, store):
    from mlflow.utils import autologging_utils

    seen = set()

    def look(prediction):
        seen.add(autologging_utils.get_autologging_config("pyspark.ml", "disable", False))

    trackmllib.autolog(record=False)
    stub_search(eva=StubEvaluator(call=look), numFolds=2, parallelism=2).fit(points)
    assert seen == {False}
