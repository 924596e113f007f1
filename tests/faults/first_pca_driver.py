"""Driver of one search whose two threads compute the JVM's first PCAs.

On SIGUSR1, it prints the stacks of its threads.
"""

from __future__ import annotations

import faulthandler
import json
import signal

from pyspark.ml import Pipeline
from pyspark.ml.classification import DecisionTreeClassifier
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import PCA, StandardScaler, StringIndexer
from pyspark.ml.linalg import Vectors
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import SparkSession
from sklearn.datasets import load_digits

import trackmllib

faulthandler.register(signal.SIGUSR1)
trackmllib.autolog(reuse_stages=True, parallel_folds=True, progress=False)
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
print(json.dumps({"jvm": spark.sparkContext._gateway.proc.pid}), flush=True)

digits = load_digits()
rows = [
    (float(digit), Vectors.dense(pixels))
    for digit, pixels in zip(digits.target.tolist(), digits.data.tolist(), strict=True)
]
data = spark.createDataFrame(rows, ["label", "features"]).cache()
data.count()
tree = DecisionTreeClassifier(labelCol="index", featuresCol="parts", seed=1)
stages = [
    StringIndexer(inputCol="label", outputCol="index"),
    StandardScaler(inputCol="features", outputCol="scaled", withMean=True),
    PCA(k=20, inputCol="scaled", outputCol="parts"),
    tree,
]
grid = ParamGridBuilder().addGrid(tree.maxDepth, [3, 5, 7]).addGrid(tree.maxBins, [8, 16, 32])
search = CrossValidator(
    estimator=Pipeline(stages=stages),
    estimatorParamMaps=grid.build(),
    evaluator=MulticlassClassificationEvaluator(labelCol="index", metricName="f1"),
    numFolds=3,
    parallelism=2,
    seed=1,
)
averages = search.fit(data).avgMetrics
precision = spark._jvm.org.netlib.lapack.Dlamch.dlamch("E")
print(json.dumps({"averages": averages, "precision": precision}), flush=True)
spark.stop()
