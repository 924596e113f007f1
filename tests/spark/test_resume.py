"""``autolog(resume=True)``: which scores are taken up, which are not, and what is recorded."""

from __future__ import annotations

import json
import logging

import mlflow
import pytest
from pyspark.ml.param import Params
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit
from pyspark.sql import functions

import trackmllib
from resuming import RowsEvaluator, rows_search, table, tree_pipeline
from stubs import FitMultipleEstimator, StubEstimator


@pytest.fixture
def on(recorded):
    trackmllib.autolog(resume=True, progress=False)
    return recorded


@pytest.fixture(scope="module")
def rows(spark):
    data = table(spark).cache()
    yield data
    data.unpersist(blocking=True)


@pytest.fixture
def said(caplog):
    """What trackmllib has told the user since."""
    caplog.set_level(logging.WARNING, "trackmllib")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "trackmllib"]


def fit(tuner, data):
    """The averages, and how many scores of each candidate were taken up."""
    model = tuner.fit(data)
    found = trackmllib.results(model).search.candidates
    averages = getattr(model, "avgMetrics", None) or model.validationMetrics
    return [float(each).hex() for each in averages], [
        found[index].taken_up for index in sorted(found)
    ]


def untracked(tuner, data):
    trackmllib.autolog(disable=True)
    model = tuner.fit(data)
    trackmllib.autolog(resume=True, progress=False)
    return [each.hex() for each in (getattr(model, "avgMetrics", None) or model.validationMetrics)]


def test_the_same_search_again_computes_nothing(on, rows):
    before, _ = fit(tree_pipeline(), rows)
    again, taken = fit(tree_pipeline(), rows)
    assert taken == [2, 2, 2]
    assert again == before == untracked(tree_pipeline(), rows)


@pytest.mark.parametrize(
    ("parallelism", "switches"),
    [(1, {}), (2, {"reuse_stages": True, "parallel_folds": True})],
)
def test_a_larger_grid_in_another_order(on, rows, parallelism, switches):
    fit(tree_pipeline([1, 3]), rows)
    trackmllib.autolog(resume=True, progress=False, **switches)
    larger = [2, 3, 4, 1]
    averages, taken = fit(tree_pipeline(larger, parallelism=parallelism), rows)
    assert taken == [0, 2, 0, 2]
    assert averages == untracked(tree_pipeline(larger), rows)


def test_a_prefix_whose_candidates_are_all_there_is_not_fitted(on, rows):
    """Two settings of the scaler; the candidates of one of them are there."""

    def search(*settings):
        tuner = tree_pipeline()
        _, scaler, tree = tuner.getEstimator().getStages()
        maps = [{scaler.withMean: mean, tree.maxDepth: depth} for mean, depth in settings]
        return tuner.setEstimatorParamMaps(maps)

    fit(search((True, 1), (True, 2)), rows)
    trackmllib.autolog(resume=True, progress=False, reuse_stages=True)
    tuner = search((True, 1), (True, 2), (False, 1), (False, 2))
    model = tuner.fit(rows)
    search_result = trackmllib.results(model).search
    assert [found.taken_up for found in search_result.candidates.values()] == [2, 2, 0, 0]
    # The assembler for those that are left, and their scaler, once a fold.
    assert search_result.shared_times == 4


def test_a_split(on, rows):
    before, _ = fit(rows_search(kind=TrainValidationSplit), rows)
    again, taken = fit(rows_search((3.0, 1.0, 4.0), kind=TrainValidationSplit), rows)
    assert taken == [1, 1, 0]
    assert again[:2] == [before[2], before[0]]


def test_an_estimator_with_a_fit_multiple_of_its_own(on, rows):
    fit(rows_search((1.0, 3.0), est=FitMultipleEstimator()), rows)
    averages, taken = fit(rows_search((4.0, 3.0, 2.0, 1.0), est=FitMultipleEstimator()), rows)
    assert taken == [0, 3, 0, 3]
    assert averages == untracked(rows_search((4.0, 3.0, 2.0, 1.0)), rows)


def test_another_order_of_rows_and_other_partitions_with_a_fold_column(on, spark, rows):
    fit(rows_search(foldCol="fold", numFolds=3), rows)
    for other in (table(spark, order=-1), table(spark, partitions=5)):
        _, taken = fit(rows_search(foldCol="fold", numFolds=3, parallelism=2), other)
        assert taken == [3, 3, 3]


def test_random_folds_of_other_partitions_are_others_and_it_is_said(on, spark, rows, said):
    fit(rows_search(), rows)
    _, taken = fit(rows_search(), table(spark, partitions=5))
    assert taken == [0, 0, 0]
    (sentence,) = said()
    assert "the data is the same, and its folds came out otherwise" in sentence
    assert "a foldCol makes folds that stay" in sentence


def test_a_window_that_grows_by_one_more_fold(on, rows):
    """A tuner with folds of its own: one fold more leaves the others as they were."""

    class Growing(CrossValidator):
        def _kFold(self, dataset):
            return [
                (
                    dataset.filter(dataset.a < (at + 1) / 5),
                    dataset.filter(dataset.a >= (at + 1) / 5),
                )
                for at in range(self.getNumFolds())
            ]

    fit(rows_search(kind=Growing, numFolds=2), rows)
    _, taken = fit(rows_search(kind=Growing, numFolds=3), rows)
    assert taken == [2, 2, 2]


class OtherCode(StubEstimator):
    def _fit(self, dataset):
        return super()._fit(dataset)


def changed_code():
    """The class of that name, whose author has changed it."""

    class OtherCode(StubEstimator):
        def _fit(self, dataset):
            dataset.count()
            return super()._fit(dataset)

    OtherCode.__qualname__ = "OtherCode"
    return OtherCode()


def renamed(data):
    return data.withColumnRenamed("label", "target").withColumn("label", functions.col("target"))


NOT = {
    "one value of one row": lambda spark: (rows_search(), table(spark, changed=40)),
    "one row more": lambda spark: (rows_search(), table(spark, more=1)),
    "another column name": lambda spark: (
        rows_search(),
        table(spark).withColumnRenamed("b", "c"),
    ),
    "another seed": lambda spark: (rows_search(seed=6), table(spark)),
    "another metric": lambda spark: (
        rows_search(eva=RowsEvaluator(metricName="others")),
        table(spark),
    ),
    "another param of the evaluator": lambda spark: (
        rows_search(eva=RowsEvaluator(factor=2.0)),
        table(spark),
    ),
    "another param of the estimator": lambda spark: (
        rows_search(est=StubEstimator(fitSeconds=0.001)),
        table(spark),
    ),
    "other code": lambda spark: (rows_search(est=changed_code()), table(spark)),
    "another number of folds": lambda spark: (rows_search(numFolds=4), table(spark)),
}


@pytest.mark.parametrize("what", NOT)
def test_is_not_taken_up(on, spark, rows, what):
    fit(rows_search(est=OtherCode() if what == "other code" else None), rows)
    tuner, data = NOT[what](spark)
    _, taken = fit(tuner, data)
    assert taken == [0, 0, 0]


def test_a_newer_spark_is_not_taken_up(on, rows, monkeypatch):
    fit(rows_search(), rows)
    session = rows.sparkSession
    if isinstance(vars(type(session))["version"], property):
        monkeypatch.setattr(type(session), "version", "99.0.0")
    else:
        # Where Spark 4 keeps what it was asked for once.
        monkeypatch.setitem(vars(session), "version", "99.0.0")
    _, taken = fit(rows_search(), rows)
    assert taken == [0, 0, 0]


def test_a_search_of_another_estimator_in_the_same_experiment(on, rows):
    fit(rows_search(), rows)
    _, taken = fit(rows_search(est=OtherCode()), rows)
    assert taken == [0, 0, 0]


def test_data_that_differs_at_each_reading(on, rows, said):
    import random

    drawn = functions.udf(lambda: random.random(), "double").asNondeterministic()
    _, taken = fit(rows_search(foldCol="fold", numFolds=3), rows.withColumn("noise", drawn()))
    assert taken == [0, 0, 0]
    (sentence,) = said()
    assert "two readings of it differ" in sentence


def test_data_version_asks_for_no_job(on, spark, rows):
    trackmllib.autolog(resume=True, data_version="2026-11-24", progress=False)
    fit(rows_search(), rows)
    before = jobs(spark)
    _, taken = fit(rows_search(), table(spark, changed=3))
    assert taken == [3, 3, 3]
    assert jobs(spark) == before
    trackmllib.autolog(resume=True, data_version="2026-11-25", progress=False)
    _, taken = fit(rows_search(), rows)
    assert taken == [0, 0, 0]


def jobs(spark) -> int:
    return spark.sparkContext._jsc.sc().dagScheduler().nextJobId()


def test_the_rows_of_all_folds_are_read_by_one_job(on, spark, rows):
    fit(rows_search(), rows)
    before = jobs(spark)
    fit(rows_search(), rows)
    assert jobs(spark) - before == 1


def test_sub_models_want_models(on, rows, said):
    fit(rows_search(), rows)
    _, taken = fit(rows_search(collectSubModels=True), rows)
    assert taken == [0, 0, 0]
    (sentence,) = said()
    assert "collectSubModels wants the model of each cell" in sentence


def test_what_cannot_be_compared_is_said(on, rows, said):
    est = StubEstimator()
    est.connection = object()
    _, taken = fit(rows_search(est=est), rows)
    assert taken == [0, 0, 0]
    (sentence,) = said()
    assert "the attribute connection of StubEstimator" in sentence


def test_a_seed_that_nobody_has_set(on, rows, said, monkeypatch):
    """Spark's default is a hash of a class name, so another one in each process."""

    def of_process(number):
        tuner = rows_search()
        tuner.clear(tuner.seed)
        tuner._setDefault(seed=number)
        return tuner

    fit(of_process(11), rows)
    _, taken = fit(of_process(12), rows)
    assert taken == [0, 0, 0]
    (sentence,) = said()
    assert "no seed is set of CrossValidator" in sentence
    assert 'autolog(resume="seed")' in sentence
    trackmllib.autolog(resume="seed", progress=False)
    tuner = of_process(13)
    _, taken = fit(tuner, rows)
    assert taken == [3, 3, 3]
    assert tuner.getSeed() == 13


def test_the_record_is_complete_and_says_where_scores_are_from(on, rows):
    first = rows_search((1.0, 2.0))
    first.fit(rows)
    (dead,) = on.main_runs()
    before = {child.data.params["x"]: child for child in on.children(dead)}
    model = rows_search((1.0, 2.0, 3.0)).fit(rows)
    dead, main = sorted(on.main_runs(), key=lambda run: run.info.start_time)
    assert main.data.tags["trackmllib.resumed_from"] == dead.info.run_id
    assert dead.data.tags["trackmllib.resumed_by"] == main.info.run_id
    children = on.children(main)
    for child in children[:2]:
        source = before[child.data.params["x"]]
        assert child.data.tags["trackmllib.resumed_from"] == source.info.run_id
        for key in ("rows", "fit_seconds", "evaluate_seconds"):
            points = on.client.get_metric_history(child.info.run_id, key)
            of_then = on.client.get_metric_history(source.info.run_id, key)
            assert [(p.step, p.value, p.timestamp) for p in points] == [
                (p.step, p.value, p.timestamp) for p in of_then
            ]
        assert child.data.metrics["avg_rows"] == source.data.metrics["avg_rows"]
        # What Spark's jobs cost, they have cost once.
        assert not [key for key in child.data.metrics if key.startswith("spark.")]
    assert "trackmllib.resumed_from" not in children[2].data.tags
    assert [child.info.status for child in children] == ["FINISHED"] * 3
    assert list(trackmllib.results(model).to_pandas()["resumed"]) == [3, 3, 0]
    assert list(trackmllib.load_results(main.info.run_id).to_pandas()["resumed"]) == [3, 3, 0]


def test_scores_that_were_changed_or_cut_are_computed_again_and_it_is_said_once(on, rows, said):
    fit(rows_search(), rows)
    children = on.children(on.only_main_run())
    client = on.client
    tag = children[0].data.tags["trackmllib.cell.0"]
    values = json.loads(tag)
    client.set_tag(children[0].info.run_id, "trackmllib.cell.0", tag[:-9])
    client.set_tag(
        children[1].info.run_id, "trackmllib.cell.1", json.dumps([*values[:3], 9.0, *values[4:]])
    )
    client.set_tag(
        children[2].info.run_id, "trackmllib.cell.2", tag.replace(str(values[3]), '"none"')
    )
    _, taken = fit(rows_search(), rows)
    assert taken == [2, 2, 2]
    (sentence,) = said()
    assert sentence.startswith("3 recorded scores are not as they were written")


def test_several_searches_in_one_run(on, rows):
    with mlflow.start_run():
        fit(rows_search((1.0,)), rows)
        _, taken = fit(rows_search((1.0, 2.0)), rows)
        assert taken == [3, 0]
        _, taken = fit(rows_search((1.0, 2.0, 3.0)), rows)
        assert taken == [3, 3, 0]


def test_a_server_that_is_away_is_said(rows, said, lenient):
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    trackmllib.autolog(resume=True, progress=False, flush_timeout=0.5)
    fit(rows_search(), rows)
    _, taken = fit(rows_search(), rows)
    # All of the first one waits in the outbox.
    assert taken == [3, 3, 3]
    _, taken = fit(rows_search((1.0, 4.0)), rows)
    assert taken == [3, 0]
    assert any(sentence.startswith("resume could not look at all there is") for sentence in said())


def test_keys_do_not_depend_on_uids(spark):
    from pyspark.ml.param import Param

    from trackmllib.spark.resuming.canonical import Canonical, digest

    def key(tuner, at=0):
        maps = tuner.getEstimatorParamMaps()
        return digest(Canonical().component(tuner.getEstimator(), maps[at]))

    assert key(tree_pipeline()) == key(tree_pipeline())
    assert key(tree_pipeline([1, 2]), 1) == key(tree_pipeline([2, 1]), 0)
    assert len({key(tree_pipeline([1, 2, 3]), at) for at in range(3)}) == 3
    assert isinstance(StubEstimator.x, Param)
    assert issubclass(StubEstimator, Params)


def test_a_fitted_model_as_a_stage_is_not_comparable(on, rows, said):
    """What it was fitted on is in none of its params."""
    tuner = tree_pipeline()
    assembled, scaler, tree = tuner.getEstimator().getStages()
    scaled = scaler.fit(assembled.transform(rows))
    tuner.getEstimator().setStages([assembled, scaled, tree])
    fit(tuner, rows)
    (sentence,) = said()
    assert "StandardScalerModel, what a model was fitted on is not in its params" in sentence


def test_metadata_of_columns_counts(on, rows):
    """What is nominal decides how a tree splits."""
    fit(rows_search(), rows)
    nominal = {"ml_attr": {"type": "nominal", "vals": ["x", "y"]}}
    _, taken = fit(rows_search(), rows.withMetadata("a", nominal))
    assert taken == [0, 0, 0]


def test_folds_that_bring_a_column_of_their_own(on, rows):
    class Weighing(CrossValidator):
        factor = 1.0

        def _kFold(self, dataset):
            return [
                (train.withColumn("weight", train.a * type(self).factor), validation)
                for train, validation in CrossValidator._kFold(self, dataset)
            ]

    fit(rows_search(kind=Weighing), rows)
    _, taken = fit(rows_search(kind=Weighing), rows)
    assert taken == [3, 3, 3]
    Weighing.factor = 2.0
    _, taken = fit(rows_search(kind=Weighing), rows)
    assert taken == [0, 0, 0]


def test_data_version_knows_a_tuner_with_folds_of_its_own(on, rows):
    class Other(CrossValidator):
        def _kFold(self, dataset):
            return super()._kFold(dataset)[::-1]

    trackmllib.autolog(resume=True, data_version="1", progress=False)
    fit(rows_search(), rows)
    _, taken = fit(rows_search(kind=Other), rows)
    assert taken == [0, 0, 0]


def test_a_home_that_others_can_write_fails_no_training(on, rows, tmp_path, lenient):
    home = tmp_path / "home"
    (home / "outbox").mkdir(parents=True, exist_ok=True)
    (home / "outbox").chmod(0o777)
    rows_search().fit(rows)


def test_scores_of_another_precision_are_not_taken_up(on, rows):
    """An average of numpy's float32 is taken in that."""
    import numpy as np

    class Half(RowsEvaluator):
        def _evaluate(self, prediction):
            return np.float32(super()._evaluate(prediction))

    fit(rows_search(eva=Half()), rows)
    _, taken = fit(rows_search(eva=Half()), rows)
    assert taken == [0, 0, 0]
