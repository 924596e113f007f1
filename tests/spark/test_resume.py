"""``resume``: reused scores and their record."""

from __future__ import annotations

import json

import mlflow
import pytest
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

import trackmllib
from support.resume_searches import (
    RowsEvaluator,
    WarmStart,
    fit,
    pipeline_search,
    rows_search,
    table,
    untracked,
)
from support.stubs import StubEstimator

pytestmark = pytest.mark.versions


def test_identical_search_computes_nothing(resuming, rows):
    before, _ = fit(pipeline_search(), rows)
    again, reused = fit(pipeline_search(), rows)
    assert reused == [2, 2]
    assert again == before == untracked(pipeline_search(), rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parallelism", "options"),
    [(1, {}), (2, {"reuse_stages": True, "parallel_folds": True})],
)
def test_larger_grid_in_another_order_reuses_scores(resuming, rows, parallelism, options):
    fit(pipeline_search([0.1, 0.3]), rows)
    trackmllib.autolog(resume=True, code_version="1", progress=False, **options)
    larger = [0.2, 0.3, 0.4, 0.1]
    averages, reused = fit(pipeline_search(larger, parallelism=parallelism), rows)
    assert reused == [0, 2, 0, 2]
    assert averages == untracked(pipeline_search(larger), rows)


@pytest.mark.slow
def test_shared_stages_of_reused_candidates_are_not_fitted(resuming, rows):
    """The scores of one of two scaler params are recorded."""

    def search(*settings):
        tuner = pipeline_search()
        _, scaler, last = tuner.getEstimator().getStages()
        maps = [{scaler.withMean: mean, last.regParam: penalty} for mean, penalty in settings]
        return tuner.setEstimatorParamMaps(maps)

    fit(search((True, 0.1), (True, 0.2)), rows)
    trackmllib.autolog(resume=True, code_version="1", progress=False, reuse_stages=True)
    tuner = search((True, 0.1), (True, 0.2), (False, 0.1), (False, 0.2))
    model = tuner.fit(rows)
    search_result = trackmllib.results(model).search
    assert [found.reused for found in search_result.candidates.values()] == [2, 2, 0, 0]
    # For the other candidates, the assembler and their scaler, once per fold.
    assert search_result.shared_times == 4


def test_train_validation_split_reuses_scores(resuming, rows):
    before, _ = fit(rows_search(kind=TrainValidationSplit), rows)
    again, reused = fit(rows_search((3.0, 1.0, 4.0), kind=TrainValidationSplit), rows)
    assert reused == [1, 1, 0]
    assert again[:2] == [before[2], before[0]]


@pytest.mark.slow
def test_own_fit_multiple_reuses_only_the_same_grid(resuming, rows):
    before, _ = fit(rows_search((1.0, 3.0), est=WarmStart()), rows)
    again, reused = fit(rows_search((1.0, 3.0), est=WarmStart()), rows)
    assert (again, reused) == (before, [3, 3])
    larger = (3.0, 1.0, 4.0)
    averages, reused = fit(rows_search(larger, est=WarmStart()), rows)
    assert reused == [0, 0, 0]
    assert averages == untracked(rows_search(larger, est=WarmStart()), rows)


@pytest.mark.slow
def test_own_fit_multiple_reuses_only_whole_folds(resuming, rows):
    fit(rows_search((1.0, 3.0), est=WarmStart()), rows)
    child = resuming.children(resuming.only_parent_run())[0]
    resuming.client.set_tag(child.info.run_id, "trackmllib.fit.1", "lost")
    averages, reused = fit(rows_search((1.0, 3.0), est=WarmStart()), rows)
    assert reused == [2, 2]
    assert averages == untracked(rows_search((1.0, 3.0), est=WarmStart()), rows)


@pytest.mark.slow
def test_data_version_runs_no_job(resuming, spark, rows):
    trackmllib.autolog(resume=True, code_version="1", data_version="2026-11-24", progress=False)
    fit(rows_search(), rows)
    before = jobs(spark)
    _, reused = fit(rows_search(), table(spark, changed=3))
    assert reused == [3, 3, 3]
    assert jobs(spark) == before
    trackmllib.autolog(resume=True, code_version="1", data_version="2026-11-25", progress=False)
    _, reused = fit(rows_search(), rows)
    assert reused == [0, 0, 0]


def jobs(spark) -> int:
    return spark.sparkContext._jsc.sc().dagScheduler().nextJobId()


@pytest.mark.slow
def test_one_job_reads_the_rows_of_all_folds(resuming, spark, rows):
    fit(rows_search(), rows)
    before = jobs(spark)
    fit(rows_search(), rows)
    assert jobs(spark) - before == 1


def test_record_is_complete_and_names_source_runs(resuming, rows):
    first = rows_search((1.0, 2.0))
    first.fit(rows)
    (dead,) = resuming.parent_runs()
    before = {child.data.params["x"]: child for child in resuming.children(dead)}
    model = rows_search((1.0, 2.0, 3.0)).fit(rows)
    dead, parent = sorted(resuming.parent_runs(), key=lambda run: run.info.start_time)
    assert parent.data.tags["trackmllib.resumed_from"] == dead.info.run_id
    assert dead.data.tags["trackmllib.resumed_by"] == parent.info.run_id
    children = resuming.children(parent)
    for child in children[:2]:
        source = before[child.data.params["x"]]
        assert child.data.tags["trackmllib.resumed_from"] == source.info.run_id
        for key in ("rows", "fit_seconds", "evaluate_seconds"):
            points = resuming.client.get_metric_history(child.info.run_id, key)
            of_then = resuming.client.get_metric_history(source.info.run_id, key)
            assert [(p.step, p.value, p.timestamp) for p in points] == [
                (p.step, p.value, p.timestamp) for p in of_then
            ]
        assert child.data.metrics["avg_rows"] == source.data.metrics["avg_rows"]
        # Costs are recorded once, on the source run.
        assert not [key for key in child.data.metrics if key.startswith("spark.")]
    assert "trackmllib.resumed_from" not in children[2].data.tags
    assert [child.info.status for child in children] == ["FINISHED"] * 3
    assert list(trackmllib.results(model).to_pandas()["resumed"]) == [3, 3, 0]
    assert list(trackmllib.load_results(parent.info.run_id).to_pandas()["resumed"]) == [3, 3, 0]


def test_changed_or_truncated_scores_are_computed_again(resuming, rows, logged_warnings):
    fit(rows_search(), rows)
    children = resuming.children(resuming.only_parent_run())
    client = resuming.client
    tag = children[0].data.tags["trackmllib.fit.0"]
    values = json.loads(tag)
    client.set_tag(children[0].info.run_id, "trackmllib.fit.0", tag[:-9])
    client.set_tag(
        children[1].info.run_id, "trackmllib.fit.1", json.dumps([*values[:3], 9.0, *values[4:]])
    )
    client.set_tag(
        children[2].info.run_id, "trackmllib.fit.2", tag.replace(str(values[3]), '"none"')
    )
    _, reused = fit(rows_search(), rows)
    assert reused == [2, 2, 2]
    (sentence,) = logged_warnings()
    assert sentence == "resume ignores 3 recorded scores that were truncated or changed."


@pytest.mark.slow
def test_several_searches_in_one_run_reuse_scores(resuming, rows):
    with mlflow.start_run():
        fit(rows_search((1.0,)), rows)
        _, reused = fit(rows_search((1.0, 2.0)), rows)
        assert reused == [3, 0]
        _, reused = fit(rows_search((1.0, 2.0, 3.0)), rows)
        assert reused == [3, 3, 0]


@pytest.mark.slow
def test_unreachable_server_warns_and_outbox_is_used(rows, logged_warnings, lenient):
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    trackmllib.autolog(resume=True, code_version="1", progress=False, flush_timeout=0.5)
    fit(rows_search(), rows)
    _, reused = fit(rows_search(), rows)
    # All scores of the first search are in the outbox.
    assert reused == [3, 3, 3]
    _, reused = fit(rows_search((1.0, 4.0)), rows)
    assert reused == [3, 0]
    start = "resume could not read all scores, so Spark computes the rest: "
    assert any(sentence.startswith(start) for sentence in logged_warnings())


def test_home_writable_by_others_fails_no_training(
    resuming, rows, tmp_path, lenient, logged_warnings
):
    home = tmp_path / "home"
    (home / "outbox").mkdir(parents=True, exist_ok=True)
    (home / "outbox").chmod(0o777)
    averages, reused = fit(rows_search(), rows)
    assert reused == [0, 0, 0]
    assert averages == untracked(rows_search(), rows)
    (sentence,) = logged_warnings()
    assert f"Reason: {home / 'outbox'} can be written by others." in sentence


@pytest.mark.slow
def test_spark_components_need_no_code_version(resuming, rows):
    trackmllib.autolog(resume=True, progress=False)
    fit(pipeline_search(), rows)
    _, reused = fit(pipeline_search(), rows)
    assert reused == [2, 2]


class TwoLoops(CrossValidator):
    """Runs Spark's loop with two evaluators, and keeps the averages of both."""

    def _fit(self, dataset):
        self.averages = []
        for factor in (1.0, 2.0):
            self.setEvaluator(RowsEvaluator(factor=factor))
            model = super()._fit(dataset)
            self.averages.append([each.hex() for each in model.avgMetrics])
        return model


@pytest.mark.slow
def test_each_loop_of_a_subclass_has_its_own_keys(resuming, rows):
    stock = rows_search(kind=TwoLoops)
    untracked(stock, rows)
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    for _ in range(2):
        tuner = rows_search(kind=TwoLoops)
        tuner.fit(rows)
        assert tuner.averages == stock.averages
    assert stock.averages[0] != stock.averages[1]


def test_train_validation_split_subclass_is_reused(resuming, rows, logged_warnings):
    class Counting(TrainValidationSplit):
        def _fit(self, dataset):
            self.calls = getattr(self, "calls", 0) + 1
            return super()._fit(dataset)

    before, _ = fit(rows_search(kind=Counting), rows)
    again, reused = fit(rows_search(kind=Counting), rows)
    assert logged_warnings() == []
    assert (again, reused) == (before, [1, 1, 1])


class Positive(RowsEvaluator):
    def _evaluate(self, prediction):
        return 10 + super()._evaluate(prediction)


class StopPoller(StubEstimator):
    def _fit(self, dataset):
        if self.getOrDefault(self.x) == 2.0:
            raise StopIteration
        return super()._fit(dataset)


@pytest.mark.slow
def test_scores_after_stop_iteration_are_those_of_stock_spark(resuming, rows):
    """StopIteration ends the fold, and scores not received count as 0.0."""

    def search(*xs):
        return rows_search(xs, est=StopPoller(), eva=Positive())

    stock = untracked(search(1.0, 2.0, 3.0), rows)
    assert stock[1:] == [(0.0).hex()] * 2
    fit(search(1.0, 3.0), rows)
    for _ in range(2):
        averages, reused = fit(search(1.0, 2.0, 3.0), rows)
        assert reused[:2] == [3, 0]
        assert averages == stock
