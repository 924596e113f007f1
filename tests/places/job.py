"""A user's job: a search of trees on data that Python tasks make, each score said aloud.

job.py FOLDER [CELL]: before the score of this cell, counted from 1, it makes FOLDER/hold. While
that is there, a task that makes data says where it runs, in FOLDER/held-<part>, and waits.
The master is named by whoever starts it: spark-submit, or PYSPARK_SUBMIT_ARGS.
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
from searches import tree_search

ROWS = 300
PARTS = 2

folder = sys.argv[1]
held_cell = int(sys.argv[2]) if len(sys.argv) > 2 else None
cells = itertools.count(1)


def say(**what):
    print(json.dumps(what), flush=True)


def rows(part, numbers):
    """One part of the data, made by a task on a worker."""
    hold = Path(folder, "hold")
    if hold.exists():
        here = Path(folder, f"held-{part}")
        here.with_suffix(".new").write_text(os.getcwd())
        here.with_suffix(".new").rename(here)
    deadline = time.monotonic() + 120
    while hold.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    for i in numbers:
        features = Vectors.dense([i * 7 % 100 / 100, i * 13 % 50 / 50, i % 3])
        yield features, float((i * 7 % 100 > 55) == (i * 13 % 50 > 20) or i % 11 == 0)


class Evaluator(MulticlassClassificationEvaluator):
    def _evaluate(self, predictions):
        cell = next(cells)
        if cell == held_cell:
            Path(folder, "hold").touch()
            say(held=cell)
        score = super()._evaluate(predictions)
        fold, candidate = divmod(cell - 1, len(search.getEstimatorParamMaps()))
        say(search=0, fold=fold, x=candidate, score=score)
        return score


trackmllib.autolog()
spark = SparkSession.builder.appName("job").getOrCreate()
say(ready=spark.sparkContext.master)
schema = StructType([StructField("features", VectorUDT()), StructField("label", DoubleType())])
data = spark.sparkContext.parallelize(range(ROWS), PARTS).mapPartitionsWithIndex(rows)
search = tree_search()
search.setEvaluator(Evaluator(labelCol="index", metricName="weightedPrecision"))
model = search.fit(spark.createDataFrame(data, schema))
say(averages=list(model.avgMetrics), deviations=list(model.stdMetrics))
spark.stop()
