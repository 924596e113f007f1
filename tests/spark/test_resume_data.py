"""``resume``: changes of the data, its order, its partitions and its folds."""

from __future__ import annotations

import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import RandomForestClassifier
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.tuning import CrossValidator
from pyspark.sql import functions
from pyspark.sql.types import (
    ArrayType,
    DoubleType,
    StructField,
    StructType,
    UserDefinedType,
)

import trackmllib
from support.resume_searches import (
    fit,
    pipeline_search,
    rows_search,
    table,
    untracked,
)

pytestmark = [pytest.mark.versions, pytest.mark.slow]


@pytest.mark.parametrize("change", [{"order": -1}, {"partitions": 5}])
def test_changed_order_or_partitions_prevent_reuse(resuming, spark, rows, logged_warnings, change):
    def search():
        return rows_search(foldCol="fold", numFolds=3)

    fit(search(), rows)
    _, reused = fit(search(), table(spark, **change))
    assert reused == [0, 0, 0]
    (sentence,) = logged_warnings()
    assert "the folds have the recorded rows, but in another order or other partitions" in sentence
    assert 'data_version="…"' in sentence
    trackmllib.autolog(resume=True, code_version="1", data_version="1", progress=False)
    fit(search(), rows)
    _, reused = fit(search(), table(spark, **change))
    assert reused == [3, 3, 3]


def test_random_folds_of_other_partitions_prevent_reuse(resuming, spark, rows, logged_warnings):
    fit(rows_search(), rows)
    _, reused = fit(rows_search(), table(spark, partitions=5))
    assert reused == [0, 0, 0]
    (sentence,) = logged_warnings()
    assert sentence.endswith("the rows of the data, the order or the partitions of the rows.")


def test_own_folds_are_reused_when_one_is_added(resuming, rows):
    """A tuner with its own folds: an additional fold does not change the others."""

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
    _, reused = fit(rows_search(kind=Growing, numFolds=3), rows)
    assert reused == [2, 2, 2]


def test_nondeterministic_data_prevents_reuse(resuming, rows, logged_warnings):
    import random

    drawn = functions.udf(lambda: random.random(), "double").asNondeterministic()
    _, reused = fit(rows_search(foldCol="fold", numFolds=3), rows.withColumn("noise", drawn()))
    assert reused == [0, 0, 0]
    (sentence,) = logged_warnings()
    assert "two reads of it differ" in sentence


def test_column_metadata_counts(resuming, rows):
    """Whether a feature is nominal determines how a tree splits."""
    fit(rows_search(), rows)
    nominal = {"ml_attr": {"type": "nominal", "vals": ["x", "y"]}}
    _, reused = fit(rows_search(), rows.withMetadata("a", nominal))
    assert reused == [0, 0, 0]


def test_own_folds_with_an_extra_column_are_reused(resuming, rows):
    class Weighing(CrossValidator):
        factor = 1.0

        def _kFold(self, dataset):
            return [
                (train.withColumn("weight", train.a * type(self).factor), validation)
                for train, validation in CrossValidator._kFold(self, dataset)
            ]

    fit(rows_search(kind=Weighing), rows)
    _, reused = fit(rows_search(kind=Weighing), rows)
    assert reused == [3, 3, 3]
    trackmllib.autolog(resume=True, code_version="2", progress=False)
    _, reused = fit(rows_search(kind=Weighing), rows)
    assert reused == [0, 0, 0]


def test_data_version_tells_own_folds_apart(resuming, rows):
    class Other(CrossValidator):
        def _kFold(self, dataset):
            return super()._kFold(dataset)[::-1]

    trackmllib.autolog(resume=True, code_version="1", data_version="1", progress=False)
    fit(rows_search(), rows)
    _, reused = fit(rows_search(kind=Other), rows)
    assert reused == [0, 0, 0]


def test_changed_partitions_prevent_reuse_of_a_forest(resuming, spark):
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
    averages, reused = fit(search(), table(spark, partitions=1))
    assert reused == [0, 0]
    assert averages != before
    trackmllib.autolog(disable=True)
    model = search().fit(table(spark, partitions=1))
    assert averages == [each.hex() for each in model.avgMetrics]


class Renaming(CrossValidator):
    """Renames the columns of the training data only."""

    def _kFold(self, dataset):
        names = dataset.sparkSession.conf.get("tests.trainedAs").split()
        return [(train.toDF(*names), validation) for train, validation in super()._kFold(dataset)]


def test_training_columns_of_own_folds_count(resuming, spark, rows):
    for names in ("a b label fold", "b a label fold"):
        spark.conf.set("tests.trainedAs", names)
        tuner = rows_search(kind=Renaming, foldCol="fold", numFolds=3)
        _, reused = fit(tuner, rows)
        assert reused == [0, 0, 0]


def test_trailing_empty_partition_counts(resuming, rows):
    """The number of partitions affects how Spark adds them up."""
    fit(rows_search(foldCol="fold"), rows)
    _, reused = fit(rows_search(foldCol="fold"), rows.union(rows.filter("a > 2")))
    assert reused == [0, 0, 0]


def test_negative_zero_counts(resuming, spark, rows):
    def data(zero):
        return rows.withColumn("b", functions.when(rows.b == 0, zero).otherwise(rows.b))

    fit(rows_search(foldCol="fold"), data(0.0))
    _, reused = fit(rows_search(foldCol="fold"), data(-0.0))
    assert reused == [0, 0, 0]


@pytest.fixture
def adaptive(spark):
    settings = {"spark.sql.adaptive.enabled": "true", "spark.sql.shuffle.partitions": "4"}
    before = {key: spark.conf.get(key) for key in settings}
    for values in (settings, before):
        for key, value in values.items():
            spark.conf.set(key, value)
        if values is settings:
            yield


@pytest.mark.parametrize("options", [{}, {"parallel_folds": True}])
@pytest.mark.usefixtures("adaptive")
def test_shuffled_data_is_read_with_the_partitions_that_spark_trains_on(resuming, spark, options):
    """Adaptive execution merges its partitions, except where Spark caches a fold."""
    pairs = spark.range(0, 4000, 1, 3).selectExpr("id % 500 AS k", "id * 7 % 100 / 100 AS a")
    shuffled = pairs.groupBy("k").agg(functions.max("a").alias("a"))
    shuffled = shuffled.selectExpr("a", "k * 13 % 50 / 50 AS b", "double(hash(k) % 2 = 0) AS label")
    merged = spark.createDataFrame(shuffled.collect(), shuffled.schema).coalesce(1)
    fit(pipeline_search([0.2, 0.4], parallelism=2), merged)
    trackmllib.autolog(resume=True, progress=False, **options)
    # Reused or not: Spark 3.5 also merges the partitions of data that it caches.
    before, _ = fit(pipeline_search([0.2, 0.4], parallelism=2), shuffled)
    again, reused = fit(pipeline_search([0.2, 0.4], parallelism=2), shuffled)
    assert reused == [2, 2]
    assert before == again == untracked(pipeline_search([0.2, 0.4], parallelism=2), shuffled)


class Pair(UserDefinedType):
    """Two numbers, one of which may be null."""

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


def test_nulls_in_a_user_defined_type_count(resuming, spark):
    schema = StructType([StructField("pair", Pair()), StructField("label", DoubleType())])

    def data(numbers):
        return spark.createDataFrame([(Numbers(numbers), 1.0)] * 20, schema).coalesce(1)

    fit(rows_search(), data([None, 2.0]))
    _, reused = fit(rows_search(), data([2.0, None]))
    assert reused == [0, 0, 0]
