"""Job that searches trees on data from Python tasks and prints each score.

cluster_job.py FOLDER [FIT]: before the score of this fit, counted from 1, it creates FOLDER/hold.
While that file exists, a data task writes its working folder to FOLDER/held-<part> and waits.
spark-submit or PYSPARK_SUBMIT_ARGS set the master.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql import SparkSession
from pyspark.sql.types import DoubleType, StructField, StructType

import trackmllib
from support.searches import tree_search

ROWS = 300
PARTS = 2

folder = sys.argv[1]
held_fit = int(sys.argv[2]) if len(sys.argv) > 2 else None
fits = itertools.count(1)


def print_json(**what):
    print(json.dumps(what), flush=True)


def rows(part, numbers):
    """Create one part of the data, in a task on a worker."""
    hold = Path(folder, "hold")
    if hold.exists():
        held = Path(folder, f"held-{part}")
        held.with_suffix(".new").write_text(os.getcwd())
        held.with_suffix(".new").rename(held)
    deadline = time.monotonic() + 120
    while hold.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    for i in numbers:
        features = Vectors.dense([i * 7 % 100 / 100, i * 13 % 50 / 50, i % 3])
        yield features, float((i * 7 % 100 > 55) == (i * 13 % 50 > 20) or i % 11 == 0)


class Evaluator(MulticlassClassificationEvaluator):
    def _evaluate(self, predictions):
        fold_fit = next(fits)
        if fold_fit == held_fit:
            Path(folder, "hold").touch()
            print_json(held=fold_fit)
        score = super()._evaluate(predictions)
        fold, candidate = divmod(fold_fit - 1, len(search.getEstimatorParamMaps()))
        print_json(search=0, fold=fold, x=candidate, score=score)
        return score


trackmllib.autolog()
spark = SparkSession.builder.appName("job").getOrCreate()
print_json(ready=spark.sparkContext.master)
schema = StructType([StructField("features", VectorUDT()), StructField("label", DoubleType())])
data = spark.sparkContext.parallelize(range(ROWS), PARTS).mapPartitionsWithIndex(rows)
search = tree_search()
search.setEvaluator(Evaluator(labelCol="index", metricName="weightedPrecision"))
model = search.fit(spark.createDataFrame(data, schema))
print_json(averages=list(model.avgMetrics), deviations=list(model.stdMetrics))
spark.stop()
