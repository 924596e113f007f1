"""``autolog(resume=True)``: which scores are reused, which are not, and what is recorded."""

from __future__ import annotations

import json
import logging

import mlflow
import pytest
from py4j.protocol import Py4JError
from pyspark.ml import Pipeline
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.ml.param import Params
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit
from pyspark.sql import functions
from pyspark.sql.types import (
    ArrayType,
    DoubleType,
    StructField,
    StructType,
    UserDefinedType,
)

import trackmllib
from resuming import RowsEvaluator, WarmStart, rows_search, table, tree_pipeline
from stubs import StubEstimator


@pytest.fixture
def on(recorded):
    trackmllib.autolog(resume=True, code_version="1", progress=False)
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
    """The averages, and the number of reused scores of each candidate."""
    model = tuner.fit(data)
    found = trackmllib.results(model).search.candidates
    averages = getattr(model, "avgMetrics", None) or model.validationMetrics
    return [float(each).hex() for each in averages], [
        found[index].taken_up for index in sorted(found)
    ]


def untracked(tuner, data):
    trackmllib.autolog(disable=True)
    model = tuner.fit(data)
    trackmllib.autolog(resume=True, code_version="1", progress=False)
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
    trackmllib.autolog(resume=True, code_version="1", progress=False, **switches)
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
    trackmllib.autolog(resume=True, code_version="1", progress=False, reuse_stages=True)
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


def test_own_fit_multiple_reuses_only_the_same_grid(on, rows):
    before, _ = fit(rows_search((1.0, 3.0), est=WarmStart()), rows)
    again, taken = fit(rows_search((1.0, 3.0), est=WarmStart()), rows)
    assert (again, taken) == (before, [3, 3])
    larger = (3.0, 1.0, 4.0)
    averages, taken = fit(rows_search(larger, est=WarmStart()), rows)
    assert taken == [0, 0, 0]
    assert averages == untracked(rows_search(larger, est=WarmStart()), rows)


def test_own_fit_multiple_reuses_only_whole_folds(on, rows):
    fit(rows_search((1.0, 3.0), est=WarmStart()), rows)
    child = on.children(on.only_main_run())[0]
    on.client.set_tag(child.info.run_id, "trackmllib.cell.1", "lost")
    averages, taken = fit(rows_search((1.0, 3.0), est=WarmStart()), rows)
    assert taken == [2, 2]
    assert averages == untracked(rows_search((1.0, 3.0), est=WarmStart()), rows)


@pytest.mark.parametrize("change", [{"order": -1}, {"partitions": 5}])
def test_changed_order_or_partitions_prevent_reuse(on, spark, rows, said, change):
    def search():
        return rows_search(foldCol="fold", numFolds=3)

    fit(search(), rows)
    _, taken = fit(search(), table(spark, **change))
    assert taken == [0, 0, 0]
    (sentence,) = said()
    assert "the folds have the recorded rows, but in another order or other partitions" in sentence
    assert 'data_version="…"' in sentence
    trackmllib.autolog(resume=True, code_version="1", data_version="1", progress=False)
    fit(search(), rows)
    _, taken = fit(search(), table(spark, **change))
    assert taken == [3, 3, 3]


def test_random_folds_of_other_partitions_are_others_and_it_is_said(on, spark, rows, said):
    fit(rows_search(), rows)
    _, taken = fit(rows_search(), table(spark, partitions=5))
    assert taken == [0, 0, 0]
    (sentence,) = said()
    assert sentence.endswith("the rows of the data, the order or the partitions of the rows.")


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
    "another number of folds": lambda spark: (rows_search(numFolds=4), table(spark)),
}


@pytest.mark.parametrize("what", NOT)
def test_is_not_taken_up(on, spark, rows, what):
    fit(rows_search(), rows)
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
    assert "two reads of it differ" in sentence


def test_data_version_asks_for_no_job(on, spark, rows):
    trackmllib.autolog(resume=True, code_version="1", data_version="2026-11-24", progress=False)
    fit(rows_search(), rows)
    before = jobs(spark)
    _, taken = fit(rows_search(), table(spark, changed=3))
    assert taken == [3, 3, 3]
    assert jobs(spark) == before
    trackmllib.autolog(resume=True, code_version="1", data_version="2026-11-25", progress=False)
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
    assert "collectSubModels: it requires models; only scores are recorded" in sentence


def test_what_cannot_be_compared_is_said(on, rows, said):
    est = StubEstimator()
    est.connection = (each for each in ())
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
    assert "no seed is set on CrossValidator" in sentence
    assert 'autolog(resume="seed")' in sentence
    trackmllib.autolog(resume="seed", code_version="1", progress=False)
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
    assert sentence == "resume ignores 3 recorded scores that were truncated or changed."


def test_several_searches_in_one_run(on, rows):
    with mlflow.start_run():
        fit(rows_search((1.0,)), rows)
        _, taken = fit(rows_search((1.0, 2.0)), rows)
        assert taken == [3, 0]
        _, taken = fit(rows_search((1.0, 2.0, 3.0)), rows)
        assert taken == [3, 3, 0]


def test_a_server_that_is_away_is_said(rows, said, lenient):
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    trackmllib.autolog(resume=True, code_version="1", progress=False, flush_timeout=0.5)
    fit(rows_search(), rows)
    _, taken = fit(rows_search(), rows)
    # All of the first one waits in the outbox.
    assert taken == [3, 3, 3]
    _, taken = fit(rows_search((1.0, 4.0)), rows)
    assert taken == [3, 0]
    start = "resume could not read all scores, so Spark computes the rest: "
    assert any(sentence.startswith(start) for sentence in said())


def test_keys_do_not_depend_on_uids(spark):
    from pyspark.ml.param import Param

    from trackmllib.spark.resuming.fingerprint import Fingerprints, digest

    def key(tuner, at=0):
        maps = tuner.getEstimatorParamMaps()
        return digest(Fingerprints().component(tuner.getEstimator(), maps[at]))

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
    assert "its params do not say what the model was fitted on" in sentence


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
    trackmllib.autolog(resume=True, code_version="2", progress=False)
    _, taken = fit(rows_search(kind=Weighing), rows)
    assert taken == [0, 0, 0]


def test_data_version_knows_a_tuner_with_folds_of_its_own(on, rows):
    class Other(CrossValidator):
        def _kFold(self, dataset):
            return super()._kFold(dataset)[::-1]

    trackmllib.autolog(resume=True, code_version="1", data_version="1", progress=False)
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


def test_own_code_needs_a_code_version(on, rows, said):
    trackmllib.autolog(resume=True, progress=False)
    for _ in range(2):
        _, taken = fit(rows_search(), rows)
        assert taken == [0, 0, 0]
    assert len(said()) == 2
    for sentence in said():
        assert sentence.startswith(
            "resume is off for this search, so Spark computes its remaining fits: "
            "the class StubEstimator: "
        )
        assert 'autolog(code_version="1")' in sentence


def test_changed_code_version_prevents_reuse(on, rows, said):
    fit(rows_search(), rows)
    trackmllib.autolog(resume=True, code_version="2", progress=False)
    _, taken = fit(rows_search(), rows)
    assert taken == [0, 0, 0]
    (sentence,) = said()
    assert sentence == (
        "resume reuses no score, so Spark computes all fits: "
        "the most similar recorded search differs in code_version."
    )


def test_spark_components_need_no_code_version(on, rows):
    trackmllib.autolog(resume=True, progress=False)
    fit(tree_pipeline(), rows)
    _, taken = fit(tree_pipeline(), rows)
    assert taken == [2, 2, 2]


def test_changed_partitions_prevent_reuse_of_a_forest(on, spark):
    """A forest samples rows by partition, so the scores of stock Spark differ."""
    trackmllib.autolog(resume=True, progress=False)

    def search():
        assembled = VectorAssembler(inputCols=["a", "b"], outputCol="features")
        forest = RandomForestClassifier(numTrees=3, seed=3)
        return CrossValidator(
            estimator=Pipeline(stages=[assembled, forest]),
            estimatorParamMaps=[{forest.maxDepth: 2}, {forest.maxDepth: 4}],
            evaluator=MulticlassClassificationEvaluator(),
            numFolds=3,
            foldCol="fold",
            seed=1,
        )

    before, _ = fit(search(), table(spark, partitions=2))
    averages, taken = fit(search(), table(spark, partitions=1))
    assert taken == [0, 0]
    assert averages != before
    trackmllib.autolog(disable=True)
    model = search().fit(table(spark, partitions=1))
    assert averages == [each.hex() for each in model.avgMetrics]


class TwoLoops(CrossValidator):
    """Runs Spark's loop with two evaluators, and keeps the averages of both."""

    def _fit(self, dataset):
        self.averages = []
        for factor in (1.0, 2.0):
            self.setEvaluator(RowsEvaluator(factor=factor))
            model = super()._fit(dataset)
            self.averages.append([each.hex() for each in model.avgMetrics])
        return model


def test_each_loop_of_a_subclass_has_its_own_keys(on, rows):
    stock = rows_search(kind=TwoLoops)
    untracked(stock, rows)
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    for _ in range(2):
        tuner = rows_search(kind=TwoLoops)
        tuner.fit(rows)
        assert tuner.averages == stock.averages
    assert stock.averages[0] != stock.averages[1]


NOBODYS = StubEstimator()


class ReadsGlobal(StubEstimator):
    """Reads a param of a component outside of itself."""

    def fit(self, dataset, params=None):
        return super().fit(dataset, {self.x: (params or {}).get(NOBODYS.y, 1.0)})


def test_param_of_an_outside_component_counts(on, rows):
    def search():
        tuner = rows_search((1.0,), est=ReadsGlobal())
        return tuner.setEstimatorParamMaps([{NOBODYS.y: 5.0}, {}])

    stock = untracked(search(), rows)
    assert stock[0] != stock[1]
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    before, _ = fit(search(), rows)
    again, taken = fit(search(), rows)
    assert before == again == stock
    assert taken == [3, 3]


class Renaming(CrossValidator):
    """Renames the columns of the training data only."""

    def _kFold(self, dataset):
        names = dataset.sparkSession.conf.get("tests.trainedAs").split()
        return [(train.toDF(*names), validation) for train, validation in super()._kFold(dataset)]


def test_training_columns_of_own_folds_count(on, spark, rows):
    for names in ("a b label fold", "b a label fold"):
        spark.conf.set("tests.trainedAs", names)
        tuner = rows_search(kind=Renaming, foldCol="fold", numFolds=3)
        _, taken = fit(tuner, rows)
        assert taken == [0, 0, 0]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("spark.sql.session.timeZone", ("UTC", "Asia/Tokyo")),
        ("spark.sql.shuffle.partitions", ("2", "3")),
        ("spark.sql.ansi.enabled", ("true", "false")),
    ],
)
def test_sql_conf_counts(on, spark, rows, said, key, values):
    before = spark.conf.get(key)
    try:
        for value in values:
            spark.conf.set(key, value)
            _, taken = fit(rows_search(), rows)
            assert taken == [0, 0, 0]
        _, taken = fit(rows_search(), rows)
        assert taken == [3, 3, 3]
    finally:
        spark.conf.set(key, before)
    (sentence,) = said()
    assert sentence.endswith("in the Spark SQL conf, default parallelism, Java or architecture.")


def test_default_parallelism_counts_without_data_version(on, spark, rows, said):
    def fitted(parallelism):
        of_context.set("spark.default.parallelism", parallelism)
        return fit(rows_search(), rows)[1]

    of_context = spark.sparkContext._jsc.sc().conf()
    before = of_context.get("spark.default.parallelism", "2")
    try:
        assert [fitted(each) for each in "177"] == [[0, 0, 0], [0, 0, 0], [3, 3, 3]]
        trackmllib.autolog(resume=True, code_version="1", data_version="1", progress=False)
        assert [fitted(each) for each in "17"] == [[0, 0, 0], [3, 3, 3]]
    finally:
        of_context.set("spark.default.parallelism", before)
    assert said()[0].endswith("in the Spark SQL conf, default parallelism, Java or architecture.")


def test_trailing_empty_partition_counts(on, rows):
    """The number of partitions affects how Spark adds them up."""
    fit(rows_search(foldCol="fold"), rows)
    _, taken = fit(rows_search(foldCol="fold"), rows.union(rows.filter("a > 2")))
    assert taken == [0, 0, 0]


def test_candidates_that_differ_only_in_code_prevent_reuse(on, rows, said):
    def search():
        return rows_search((lambda: 1, lambda: 2), est=Calls())

    for _ in range(2):
        _, taken = fit(search(), rows)
        assert taken == [0, 0]
    assert "the grid: trackmllib cannot tell some candidates apart" in said()[0]


class Calls(StubEstimator):
    """Estimator whose ``x`` is a function."""

    def _fit(self, dataset):
        return super().copy({self.x: self.getOrDefault(self.x)()})._fitted(dataset)

    def _fitted(self, dataset):
        return StubEstimator._fit(self, dataset)


def test_conf_without_effect_does_not_count(on, spark, rows):
    fit(rows_search(), rows)
    spark.conf.set("spark.sql.ui.explainMode", "simple")
    try:
        _, taken = fit(rows_search(), rows)
    finally:
        spark.conf.unset("spark.sql.ui.explainMode")
    assert taken == [3, 3, 3]


class ReadsView(SQLTransformer):
    """Reads a temporary view, which may be replaced."""


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (SQLTransformer, "a SQLTransformer (its statement may read any table)"),
        (ReadsView, "the class ReadsView"),
    ],
)
def test_sql_transformer_needs_a_code_version(on, rows, said, kind, named):
    def search():
        tuner = tree_pipeline()
        statement = kind(statement="SELECT * FROM __THIS__")
        stages = [statement, *tuner.getEstimator().getStages()]
        tuner.getEstimator().setStages(stages)
        return tuner

    trackmllib.autolog(resume=True, progress=False)
    fit(search(), rows)
    (sentence,) = said()
    assert named in sentence
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    fit(search(), rows)
    _, taken = fit(search(), rows)
    assert taken == [2, 2, 2]


def test_foreign_java_class_needs_a_code_version(on, spark, rows, said):
    trackmllib.autolog(resume=True, progress=False)
    tuner = tree_pipeline()
    tree = tuner.getEstimator().getStages()[-1]
    tree._java_obj = spark._jvm.java.util.ArrayList()
    with pytest.raises(Py4JError):
        tuner.fit(rows)
    assert any("the Java class java.util.ArrayList" in sentence for sentence in said())


def test_negative_zero_counts(on, spark, rows):
    def data(zero):
        return rows.withColumn("b", functions.when(rows.b == 0, zero).otherwise(rows.b))

    fit(rows_search(foldCol="fold"), data(0.0))
    _, taken = fit(rows_search(foldCol="fold"), data(-0.0))
    assert taken == [0, 0, 0]


def test_train_validation_split_subclass_is_reused(on, rows, said):
    class Counting(TrainValidationSplit):
        def _fit(self, dataset):
            self.calls = getattr(self, "calls", 0) + 1
            return super()._fit(dataset)

    before, _ = fit(rows_search(kind=Counting), rows)
    again, taken = fit(rows_search(kind=Counting), rows)
    assert said() == []
    assert (again, taken) == (before, [1, 1, 1])


def test_uid_in_a_column_name_does_not_count(on, rows):
    def search():
        tuner = tree_pipeline()
        tree = tuner.getEstimator().getStages()[-1]
        tree.setPredictionCol(f"{tree.uid}__prediction")
        tuner.getEvaluator().setPredictionCol(tree.getPredictionCol())
        return tuner

    fit(search(), rows)
    _, taken = fit(search(), rows)
    assert taken == [2, 2, 2]


def test_explain_uses_the_code_version(on):
    tuner = rows_search(seed=5)
    assert trackmllib.explain(tuner).resume == "scores can be reused."
    trackmllib.autolog(resume=True, progress=False)
    assert 'autolog(code_version="1")' in trackmllib.explain(tuner).resume


@pytest.fixture
def adaptive(spark):
    settings = {"spark.sql.adaptive.enabled": "true", "spark.sql.shuffle.partitions": "4"}
    before = {key: spark.conf.get(key) for key in settings}
    for values in (settings, before):
        for key, value in values.items():
            spark.conf.set(key, value)
        if values is settings:
            yield


@pytest.mark.parametrize("switches", [{}, {"parallel_folds": True}])
@pytest.mark.usefixtures("adaptive")
def test_data_behind_a_shuffle_is_read_as_spark_trains_on_it(on, spark, switches):
    """Adaptive execution merges its partitions, except where Spark caches a fold."""
    pairs = spark.range(0, 4000, 1, 3).selectExpr("id % 500 AS k", "id * 7 % 100 / 100 AS a")
    shuffled = pairs.groupBy("k").agg(functions.max("a").alias("a"))
    shuffled = shuffled.selectExpr("a", "k * 13 % 50 / 50 AS b", "double(hash(k) % 2 = 0) AS label")
    merged = spark.createDataFrame(shuffled.collect(), shuffled.schema).coalesce(1)
    fit(tree_pipeline([2, 4], parallelism=2), merged)
    trackmllib.autolog(resume=True, progress=False, **switches)
    # Reused or not: Spark 3.5 merges the partitions of what it caches, too.
    before, _ = fit(tree_pipeline([2, 4], parallelism=2), shuffled)
    again, taken = fit(tree_pipeline([2, 4], parallelism=2), shuffled)
    assert taken == [2, 2]
    assert before == again == untracked(tree_pipeline([2, 4], parallelism=2), shuffled)


class Positive(RowsEvaluator):
    def _evaluate(self, prediction):
        return 10 + super()._evaluate(prediction)


class Stopping(StubEstimator):
    def _fit(self, dataset):
        if self.getOrDefault(self.x) == 2.0:
            raise StopIteration
        return super()._fit(dataset)


def test_scores_after_stop_iteration_are_those_of_stock_spark(on, rows):
    """Spark ends the fold there, and counts what it has not received as 0.0."""

    def search(*xs):
        return rows_search(xs, est=Stopping(), eva=Positive())

    stock = untracked(search(1.0, 2.0, 3.0), rows)
    assert stock[1:] == [(0.0).hex()] * 2
    fit(search(1.0, 3.0), rows)
    for _ in range(2):
        averages, taken = fit(search(1.0, 2.0, 3.0), rows)
        assert taken[:2] == [3, 0]
        assert averages == stock


class Pair(UserDefinedType):
    """Two numbers, of which one may be missing."""

    @classmethod
    def sqlType(cls):
        return ArrayType(DoubleType())

    @classmethod
    def module(cls):
        return __name__

    def serialize(self, pair):
        return pair.numbers

    def deserialize(self, numbers):
        return Numbers(numbers)


class Numbers:
    __UDT__ = Pair()

    def __init__(self, numbers):
        self.numbers = numbers


def test_missing_numbers_in_a_type_of_the_user_count(on, spark):
    schema = StructType([StructField("pair", Pair()), StructField("label", DoubleType())])

    def data(numbers):
        return spark.createDataFrame([(Numbers(numbers), 1.0)] * 20, schema).coalesce(1)

    fit(rows_search(), data([None, 2.0]))
    _, taken = fit(rows_search(), data([2.0, None]))
    assert taken == [0, 0, 0]
