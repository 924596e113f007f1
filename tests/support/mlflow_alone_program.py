"""Searches that MLflow's own autologging records, without trackmllib.

Argument: ``search`` (two searches of other seeds in one active run), ``kill`` (SIGKILL in the last
fit), ``down`` (no server) or ``connect`` (on Spark Connect). Prints, as JSON, the number of child
runs while the last fit of each search is evaluated, and the seconds of each ``fit()``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import mlflow
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import SparkSession

CASE = sys.argv[1]
FITS = 4


class Evaluator(MulticlassClassificationEvaluator):
    evaluations = 0

    def evaluate(self, dataset, params=None):
        Evaluator.evaluations += 1
        if Evaluator.evaluations % FITS == 0:
            if CASE == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if CASE == "search":
                condition = "tags.`mlflow.parentRunId` != ''"
                found = mlflow.MlflowClient().search_runs([experiment.experiment_id], condition)
                printed["live"].append(len(found))
        return super().evaluate(dataset, params)


printed: dict[str, list] = {"live": [], "seconds": []}
builder = SparkSession.builder.config("spark.ui.enabled", "false")
if CASE == "connect":
    spark = builder.remote("local[2]").getOrCreate()
else:
    spark = builder.master("local[2]").getOrCreate()
mlflow.pyspark.ml.autolog(log_models=False, log_datasets=False)
rows = spark.range(60).selectExpr("id % 9 AS x", "id % 7 AS y", "double(id % 9 > id % 7) AS label")
train = VectorAssembler(inputCols=["x", "y"], outputCol="features").transform(rows)
lr = LogisticRegression(maxIter=1)
cv = CrossValidator(
    estimator=lr,
    estimatorParamMaps=ParamGridBuilder().addGrid(lr.regParam, [0.0, 1.0]).build(),
    evaluator=Evaluator(),
    numFolds=2,
)


def fit():
    start = time.monotonic()
    cv.fit(train)
    printed["seconds"].append(time.monotonic() - start)


if CASE == "down":
    fit()
else:
    experiment = mlflow.set_experiment("alone")
    if CASE == "search":
        with mlflow.start_run():
            fit()
            cv.setSeed(1)
            fit()
    else:
        fit()
print(json.dumps(printed))
