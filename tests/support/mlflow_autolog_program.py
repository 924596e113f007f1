"""A notebook as a program: ``mlflow.autolog()`` and a search, without a word about trackmllib.

Arguments: the name of the experiment, the URL of a Spark Connect server or ``""``, and the
arguments of ``mlflow.autolog()`` as JSON. Prints, as JSON, the averages of the model, and how many
child runs the server had when the last fit was evaluated.
"""

# ruff: noqa: E402
import json
import sys
import time

import mlflow

NAME, REMOTE, ARGUMENTS = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])

if not REMOTE:
    # With a Connect session, as on a managed platform, the session is there first.
    mlflow.autolog(**ARGUMENTS)

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import SparkSession

builder = SparkSession.builder.appName("notebook")
if REMOTE:
    spark = builder.remote(REMOTE).getOrCreate()
    mlflow.autolog(**ARGUMENTS)
else:
    spark = builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()


class LookingEvaluator(MulticlassClassificationEvaluator):
    """Counts the child runs on the server in the last of four evaluations."""

    evaluations, children = 0, 0

    def evaluate(self, dataset, params=None):
        cls = LookingEvaluator
        cls.evaluations += 1
        if cls.evaluations == 4:
            deadline = time.monotonic() + 60
            while cls.children < 2 and time.monotonic() < deadline:
                found = mlflow.MlflowClient().search_runs(
                    [EXPERIMENT], "tags.`mlflow.parentRunId` != ''"
                )
                cls.children = len(found)
                time.sleep(0.2)
        return super().evaluate(dataset, params)


EXPERIMENT = mlflow.set_experiment(NAME).experiment_id
rows = spark.range(60).selectExpr("id % 9 AS x", "id % 7 AS y", "double(id % 9 > id % 7) AS label")
train = VectorAssembler(inputCols=["x", "y"], outputCol="features").transform(rows)
lr = LogisticRegression(maxIter=1)
cv = CrossValidator(
    estimator=lr,
    estimatorParamMaps=ParamGridBuilder().addGrid(lr.regParam, [0.0, 1.0]).build(),
    evaluator=LookingEvaluator(),
    numFolds=2,
)
model = cv.fit(train)
print(json.dumps({"averages": model.avgMetrics, "live": LookingEvaluator.children}))
spark.stop()
