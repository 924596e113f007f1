"""Driver with ``autolog(resume=True)`` that prints each score of a search.

resumed_driver.py SETTINGS, a JSON object:

kind: ``stub`` or ``pipeline``; candidates, folds, parallelism, fit_seconds: the search
autolog: more arguments of ``autolog()``; fold_col: folds by a column; partitions of the data
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.sql import SparkSession

import trackmllib
from support.resume_searches import RowsEvaluator, pipeline_search, rows_search, table
from support.stubs import StubEstimator

settings = json.loads(sys.argv[1])


def print_json(**what):
    """Print and flush one line, so that the output of a killed process is complete."""
    os.write(1, (json.dumps({"time": time.time(), **what}) + "\n").encode())


spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")
data = table(spark, partitions=settings.get("partitions", 2)).cache()
count = settings.get("candidates", 10)
folds = {"numFolds": settings.get("folds", 3), "parallelism": settings.get("parallelism", 2)}
if settings.get("fold_col"):
    folds["foldCol"] = "fold"
if settings.get("kind") == "pipeline":
    tuner = pipeline_search([(at + 1) / 10 for at in range(count)], **folds)
    evaluator = RegressionEvaluator
else:
    est = StubEstimator(fitSeconds=settings.get("fit_seconds", 0.05))
    tuner = rows_search([float(x) for x in range(count)], est=est, **folds)
    evaluator = RowsEvaluator
evaluate = evaluator.evaluate


def print_score(self, dataset, params=None):
    score = evaluate(self, dataset, params)
    print_json(search=0, x=None, score=score)
    return score


def described(model):
    """Return all numbers of a model."""
    if not hasattr(model, "stages"):
        return [model.getOrDefault("x")]
    _, scaler, last = model.stages
    return [
        str(scaler.mean),
        str(scaler.std),
        *(each.hex() for each in (*last.coefficients, last.intercept)),
    ]


evaluator.evaluate = print_score
trackmllib.autolog(**{"resume": True, "code_version": "1", **settings.get("autolog", {})})
print_json(ready=os.getpid())
model = tuner.fit(data)
search = trackmllib.results(model).search
print_json(
    fitted=0,
    seconds=0.0,
    averages=[each.hex() for each in model.avgMetrics],
    deviations=[each.hex() for each in model.stdMetrics],
    best=search.best,
    model=described(model.bestModel),
    taken=sum(found.reused for found in search.candidates.values()),
)
print_json(done=True)
spark.stop()
