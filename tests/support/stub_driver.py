"""Driver that runs searches on real Spark and prints each score.

stub_driver.py SETTINGS, a JSON object; all are optional:

candidates, folds, parallelism, fit_seconds, searches, in_one_run, seed: the searches
autolog: arguments of ``autolog()``
stop_at_fits: wait in each of these fits for the file ``go-on-<number of the fit>``
no_more_threads: from the first of these fits on, Python cannot start a thread
inner: each fit runs a search of two candidates; the first search waits in this fit
tuner: "subclass" for a tuner with a fit() of its own
"""

from __future__ import annotations

import itertools
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
from support.restricted_processes import without_more_threads
from support.searches import stub_search
from support.stubs import SearchingEstimator, StubEstimator, StubEvaluator

settings = json.loads(sys.argv[1])


def print_json(**what):
    """Print and flush one line, so that the output of a killed process is complete."""
    os.write(1, (json.dumps({"time": time.time(), **what}) + "\n").encode())


class Evaluator(StubEvaluator):
    stop_at = settings.get("stop_at_fits", ())

    def _evaluate(self, prediction):
        score = super()._evaluate(prediction)
        with self._lock:
            self.fits = getattr(self, "fits", 0) + 1
            here = self.fits
        if here in self.stop_at:
            if settings.get("no_more_threads"):
                exec(without_more_threads())
            print_json(stopped=here)
            while not Path(f"go-on-{here}").exists():
                time.sleep(0.05)
        print_json(search=self.search, x=prediction.x, score=score)
        return score


class RefitEstimator(StubEstimator):
    """Prints a line when the refit has ended."""

    def __init__(self, before, **params):
        super().__init__(**params)
        self.before, self.fits = before, itertools.count(1)

    def _fit(self, dataset):
        model = super()._fit(dataset)
        if next(self.fits) > self.before:
            print_json(refitted=True)
        return model


class Subclass(CrossValidator):
    def fit(self, dataset, params=None):
        return super().fit(dataset, params)


class PrintWarnings(logging.Handler):
    def emit(self, record):
        print_json(warning=record.getMessage())


logging.getLogger("trackmllib").addHandler(PrintWarnings())
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
print_json(ready=os.getpid())


def fit(number):
    evaluator = Evaluator(seed=settings.get("seed", 0) + number)
    evaluator.search = number
    candidates, folds = settings.get("candidates", 10), settings.get("folds", 3)
    est = RefitEstimator(candidates * folds, fitSeconds=settings.get("fit_seconds", 0.05))
    if "inner" in settings:
        inner = Evaluator()
        inner.search, inner.stop_at = "inner", (settings["inner"],)
        est = SearchingEstimator(stub_search(xs=[5.0, 6.0], eva=inner, numFolds=2))
    search = stub_search(
        kind=Subclass if settings.get("tuner") == "subclass" else CrossValidator,
        est=est,
        eva=evaluator,
        xs=[float(x) for x in range(candidates)],
        numFolds=folds,
        parallelism=settings.get("parallelism", 2),
    )
    began = time.monotonic()
    model = search.fit(points)
    print_json(fitted=number, seconds=time.monotonic() - began, averages=list(model.avgMetrics))


with mlflow.start_run() if settings.get("in_one_run") else nullcontext():
    for number in range(settings.get("searches", 1)):
        fit(number)
print_json(done=True, threads=threading.active_count())
spark.stop()
