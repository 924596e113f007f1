"""Searches under MLflow's autologging, each case in an experiment of its own.

Arguments: a folder for the data, and the cases as JSON. Each has a ``name``, a ``function`` of
MLflow and its ``arguments``, a ``search``, and whether it runs in an ``active`` run and ``twice``.
Prints, as JSON, the predictions of each model and the seconds of each case, by name.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from contextlib import nullcontext
from importlib import import_module

import mlflow
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression, OneVsRest
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    MulticlassClassificationEvaluator,
    RegressionEvaluator,
)
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.recommendation import ALS
from pyspark.ml.regression import LinearRegression
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit
from pyspark.sql import SparkSession
from pyspark.sql.utils import IllegalArgumentException

FOLDER = sys.argv[1]

warnings.simplefilter("ignore")


def classifier():
    lr = LogisticRegression(maxIter=2)
    grid = ParamGridBuilder().addGrid(lr.regParam, [0.0, 1.0]).addGrid(lr.maxIter, [1, 2]).build()
    return CrossValidator(
        estimator=lr,
        estimatorParamMaps=grid,
        evaluator=BinaryClassificationEvaluator(metricName="areaUnderPR"),
        numFolds=2,
    )


def regressor():
    lr = LinearRegression(maxIter=2)
    return TrainValidationSplit(
        estimator=lr,
        estimatorParamMaps=ParamGridBuilder().addGrid(lr.elasticNetParam, [0, 0.5]).build(),
        evaluator=RegressionEvaluator(),
        seed=7,
    )


def pipeline():
    """Ambiguous names, a list as a value, and an owner in a pipeline."""
    first = StandardScaler(inputCol="features", outputCol="scaled")
    second = StandardScaler(inputCol="scaled", outputCol="twice")
    lr = LogisticRegression(maxIter=1, featuresCol="twice")
    grid = ParamGridBuilder().addGrid(first.withMean, [True, False])
    grid = grid.addGrid(second.withMean, [False]).addGrid(lr.thresholds, [[0.4, 0.6]])
    return CrossValidator(
        estimator=Pipeline(stages=[first, Pipeline(stages=[second]), lr]),
        estimatorParamMaps=grid.build(),
        evaluator=MulticlassClassificationEvaluator(),
        numFolds=2,
        parallelism=2,
    )


def one_vs_rest():
    """A param that is an estimator, and the same name in both."""
    lr = LogisticRegression(maxIter=1)
    est = OneVsRest(classifier=lr)
    return TrainValidationSplit(
        estimator=est,
        estimatorParamMaps=[{lr.featuresCol: "features"}, {est.classifier: lr.copy()}],
        evaluator=MulticlassClassificationEvaluator(metricName="accuracy"),
    )


def als():
    """Its model is not on MLflow's model allowlist."""
    est = ALS(userCol="x", itemCol="y", ratingCol="label", maxIter=1, rank=1)
    return TrainValidationSplit(
        estimator=est,
        estimatorParamMaps=[{est.regParam: 0.1}, {est.regParam: 1.0}],
        evaluator=RegressionEvaluator(),
    )


def inside_pipeline():
    return Pipeline(stages=[regressor()])


def failing():
    tuner = regressor()
    tuner.getEstimator().setFeaturesCol("nothing")
    return tuner


SEARCHES = (classifier, regressor, pipeline, one_vs_rest, als, inside_pipeline, failing)


def run(case, train):
    """Fit, and evaluate on data, so that MLflow logs a post-training metric."""
    estimator = next(each for each in SEARCHES if each.__name__ == case["search"])()
    try:
        for _ in range(2 if case.get("twice") else 1):
            model = estimator.fit(train)
    except IllegalArgumentException:
        return None
    predicted = model.transform(train)
    RegressionEvaluator(metricName="mae").evaluate(predicted)
    return [row.prediction for row in predicted.orderBy("id").collect()]


def main():
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    rows = spark.range(60).selectExpr(
        "id", "int(id % 9) AS x", "int(id % 7) AS y", "double(id % 9 > id % 7) AS label"
    )
    if not os.path.exists(FOLDER):
        made = VectorAssembler(inputCols=["x", "y"], outputCol="features").transform(rows)
        made.coalesce(1).write.parquet(FOLDER)
    train = spark.read.parquet(FOLDER)
    printed = {"predictions": {}, "seconds": {}}
    for case in json.loads(sys.argv[2]):
        owner, _, function = case["function"].rpartition(".")
        mlflow.set_experiment(case["name"])
        getattr(import_module(owner), function)(**case["arguments"])
        began = time.monotonic()
        with mlflow.start_run() if case.get("active") else nullcontext():
            printed["predictions"][case["name"]] = run(case, train)
        printed["seconds"][case["name"]] = time.monotonic() - began
    if "trackmllib" in sys.modules:
        import_module("trackmllib").flush(60)
    print(json.dumps(printed))


if __name__ == "__main__":
    main()
