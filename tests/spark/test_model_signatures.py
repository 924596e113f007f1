"""Signatures of logged models, with exactly the columns that the model reads."""

from __future__ import annotations

import mlflow
import pandas as pd
import pytest
from pyspark.ml import Pipeline, Transformer
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import SQLTransformer, StringIndexer, Tokenizer, VectorAssembler
from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import functions as F

import trackmllib
from support.searches import regression_search

pytestmark = pytest.mark.slow

FEATURES = [[0.1, 0.2, 1.0], [0.9, 0.4, 2.0]]


@pytest.fixture
def commented(points):
    """Columns that no model needs, one of them with a name that has to be quoted."""
    return points.withColumn("comment", F.lit("a b")).withColumn("a.b `c`", F.lit(1))


def search_of(*stages, **params):
    est = LogisticRegression(maxIter=2, **params)
    return TrainValidationSplit(
        estimator=Pipeline(stages=[*stages, est]),
        estimatorParamMaps=ParamGridBuilder().addGrid(est.regParam, [0.1]).build(),
        evaluator=BinaryClassificationEvaluator(labelCol=est.getLabelCol()),
        seed=1,
    )


def logged(store, search, data):
    """The URI of the logged model, and the inputs of its signature by name."""
    trackmllib.autolog(log_models="best")
    search.fit(data)
    uri = f"runs:/{store.parent_runs()[-1].info.run_id}/model"
    signature = mlflow.models.get_model_info(uri).signature
    return uri, [column.name for column in signature.inputs]


def test_model_predicts_on_the_column_it_reads(commented, store):
    uri, inputs = logged(store, regression_search(TrainValidationSplit), commented)
    assert inputs == ["features"]
    assert len(mlflow.pyfunc.load_model(uri).predict(pd.DataFrame({"features": FEATURES}))) == 2


def test_training_column_is_not_an_input(commented, store):
    """A StringIndexerModel skips a column that is not there."""
    search = search_of(StringIndexer(inputCol="label", outputCol="index"), labelCol="index")
    uri, inputs = logged(store, search, commented)
    assert inputs == ["features"]
    assert len(mlflow.pyfunc.load_model(uri).predict(pd.DataFrame({"features": FEATURES}))) == 2


def test_training_column_is_not_an_input_with_other_prediction_column(commented, store):
    search = search_of(
        StringIndexer(inputCol="label", outputCol="index"), labelCol="index", predictionCol="p"
    )
    assert logged(store, search, commented)[1] == ["features"]


def test_vectors_without_a_known_size_are_assembled(commented, store):
    search = search_of(
        VectorAssembler(inputCols=["features", "fold"], outputCol="both"), featuresCol="both"
    )
    uri, inputs = logged(store, search, commented)
    assert inputs == ["features", "fold"]
    rows = pd.DataFrame({"features": FEATURES, "fold": [0, 1]})
    assert len(mlflow.pyfunc.load_model(uri).predict(rows)) == 2


def test_column_required_by_transform_is_input(commented, store):
    search = search_of(Tokenizer(inputCol="comment", outputCol="words"))
    uri, inputs = logged(store, search, commented)
    assert inputs == ["features", "comment"]
    rows = pd.DataFrame({"features": FEATURES, "comment": ["a", "b"]})
    assert len(mlflow.pyfunc.load_model(uri).predict(rows)) == 2


def test_column_read_by_sql_statement_is_input(commented, store):
    statement = "SELECT * FROM __THIS__ WHERE comment IS NOT NULL"
    assert logged(store, search_of(SQLTransformer(statement=statement)), commented)[1] == [
        "features",
        "comment",
    ]


class Scales(Transformer, DefaultParamsReadable, DefaultParamsWritable):
    """A stage of the user's that reads a column if there is one, and has no param for it."""

    def _transform(self, dataset):
        if "fold" not in dataset.columns:
            return dataset
        return VectorAssembler(inputCols=["features", "fold"], outputCol="scaled").transform(
            dataset.drop("scaled")
        )


class Looks(Transformer, DefaultParamsReadable, DefaultParamsWritable):
    """A stage of the user's that reads a row."""

    def _transform(self, dataset):
        return dataset.withColumn("seen", F.lit(dataset.first()["comment"]))


def test_optional_column_of_user_stage_is_input(commented, store):
    data = commented.withColumn("scaled", F.col("features"))
    search = search_of(Scales(), featuresCol="scaled")
    assert logged(store, search, data)[1] == ["features", "fold"]


def test_all_columns_are_inputs_of_row_reading_stage(commented, store):
    inputs = logged(store, search_of(Looks()), commented)[1]
    assert inputs == ["features", "fold", "comment", "a.b `c`"]


def test_reading_the_signature_runs_no_spark_job(spark, commented):
    from trackmllib.spark.introspection.input_columns import inputs_and_outputs

    search = search_of(
        VectorAssembler(inputCols=["features", "fold"], outputCol="both"), featuresCol="both"
    )
    model = search.fit(commented).bestModel
    spark.sparkContext.setJobGroup("signature", "")
    inputs, _ = inputs_and_outputs(model, commented)
    assert inputs.columns == ["features", "fold"]
    assert not spark.sparkContext.statusTracker().getJobIdsForGroup("signature")
