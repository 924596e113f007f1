"""A user's program with ``autolog(resume=True)``: a search of stubs, or of a pipeline of a tree,
each score said aloud. Run by the tests: resumed_driver.py SETTINGS, a JSON object:

kind: ``stub`` or ``tree``; candidates, folds, parallelism, fit_seconds: the search
autolog: more arguments of ``autolog()``; fold_col: folds by a column; partitions of the data
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.sql import SparkSession

import trackmllib
from resuming import RowsEvaluator, rows_search, table, tree_pipeline
from stubs import StubEstimator

settings = json.loads(sys.argv[1])


def say(**what):
    """One line at once: of a process that is killed, what was said is complete."""
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
if settings.get("kind") == "tree":
    tuner = tree_pipeline(range(1, count + 1), **folds)
    evaluator = MulticlassClassificationEvaluator
else:
    est = StubEstimator(fitSeconds=settings.get("fit_seconds", 0.05))
    tuner = rows_search([float(x) for x in range(count)], est=est, **folds)
    evaluator = RowsEvaluator
evaluate = evaluator.evaluate


def aloud(self, dataset, params=None):
    score = evaluate(self, dataset, params)
    say(search=0, x=None, score=score)
    return score


def described(model):
    """All numbers of a model."""
    if not hasattr(model, "stages"):
        return [model.getOrDefault("x")]
    _, scaler, tree = model.stages
    # Its first line has a uid.
    return [str(scaler.mean), str(scaler.std), tree.toDebugString.partition("\n")[2]]


evaluator.evaluate = aloud
trackmllib.autolog(**{"resume": True, "code_version": "1", **settings.get("autolog", {})})
say(ready=os.getpid())
model = tuner.fit(data)
search = trackmllib.results(model).search
say(
    fitted=0,
    seconds=0.0,
    averages=[each.hex() for each in model.avgMetrics],
    deviations=[each.hex() for each in model.stdMetrics],
    best=search.best,
    model=described(model.bestModel),
    taken=sum(found.taken_up for found in search.candidates.values()),
)
say(done=True)
spark.stop()
