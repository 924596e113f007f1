"""A user's program: real Spark, one search after another, each score said aloud. Run by the tests.

driver.py SETTINGS, a JSON object; all are optional:

candidates, folds, parallelism, fit_seconds, searches, in_one_run, seed: the searches
autolog: arguments of ``autolog()``
stop_at_cell: stand still in this cell until SIGCONT or a signal that ends the process
no_more_threads: from that cell on no thread of Python's can be started
inner: each fit runs a search of two candidates itself; the first stands still in this cell
tuner: "subclass" for a tuner with a fit() of its own
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mlflow
from pyspark.ml.linalg import Vectors
from pyspark.ml.tuning import CrossValidator
from pyspark.sql import SparkSession

import trackmllib
from processes import without_more_threads
from searches import stub_search
from stubs import SearchingEstimator, StubEstimator, StubEvaluator

settings = json.loads(sys.argv[1])


def say(**what):
    """One line at once: of a process that is killed, what was said is complete."""
    os.write(1, (json.dumps({"time": time.time(), **what}) + "\n").encode())


class Evaluator(StubEvaluator):
    stop_at = settings.get("stop_at_cell")

    def _evaluate(self, prediction):
        score = super()._evaluate(prediction)
        with self._lock:
            self.cells = getattr(self, "cells", 0) + 1
            here = self.cells
        if here == self.stop_at:
            if settings.get("no_more_threads"):
                exec(without_more_threads())
            say(stopped=here)
            time.sleep(600)
        say(search=self.search, x=prediction.x, score=score)
        return score


class Subclass(CrossValidator):
    def fit(self, dataset, params=None):
        return super().fit(dataset, params)


class Heard(logging.Handler):
    def emit(self, record):
        say(warning=record.getMessage())


logging.getLogger("trackmllib").addHandler(Heard())
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")
points = spark.createDataFrame([(Vectors.dense([1.0]), float(i % 2)) for i in range(40)])
points = points.toDF("features", "label")

trackmllib.autolog(**settings.get("autolog", {}))
say(ready=os.getpid())


def fit(number):
    evaluator = Evaluator(seed=settings.get("seed", 0) + number)
    evaluator.search = number
    est = StubEstimator(fitSeconds=settings.get("fit_seconds", 0.05))
    if "inner" in settings:
        inner = Evaluator()
        inner.search, inner.stop_at = "inner", settings["inner"]
        est = SearchingEstimator(stub_search(xs=[5.0, 6.0], eva=inner, numFolds=2))
    search = stub_search(
        kind=Subclass if settings.get("tuner") == "subclass" else CrossValidator,
        est=est,
        eva=evaluator,
        xs=[float(x) for x in range(settings.get("candidates", 10))],
        numFolds=settings.get("folds", 3),
        parallelism=settings.get("parallelism", 2),
    )
    began = time.monotonic()
    model = search.fit(points)
    say(fitted=number, seconds=time.monotonic() - began, averages=list(model.avgMetrics))


with mlflow.start_run() if settings.get("in_one_run") else nullcontext():
    for number in range(settings.get("searches", 1)):
        fit(number)
say(done=True, threads=threading.active_count())
spark.stop()
