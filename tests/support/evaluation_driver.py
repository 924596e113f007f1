"""Driver that evaluates the model of a search, and is killed after that.

evaluation_driver.py [REMOTE]: after the search, waits for a line on standard input; prints the
metric. REMOTE is the URL of a Spark Connect session.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.linalg import Vectors
from pyspark.ml.tuning import TrainValidationSplit
from pyspark.sql import SparkSession

import trackmllib
from support.searches import regression_search

trackmllib.autolog(log_post_training_metrics=True, log_datasets=True)
builder = SparkSession.builder
builder = builder.remote(sys.argv[1]) if len(sys.argv) > 1 else builder.master("local[1]")
spark = builder.getOrCreate()
rows = [(Vectors.dense([i * 7 % 100 / 100, i % 3]), float(i * 7 % 100 > 55)) for i in range(100)]
train = spark.createDataFrame(rows, ["features", "label"])
model = regression_search(TrainValidationSplit).fit(train)
holdout = train.limit(90)
print("fitted", flush=True)
sys.stdin.readline()
evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
print(evaluator.evaluate(model.transform(holdout)).hex(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
