"""``resume``, ``on_error`` and ``candidate_timeout`` on Spark Connect.

connect_resume_driver.py URL prints the outcome of three searches.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.sql import SparkSession, functions

import trackmllib
from support.resume_searches import pipeline_search, rows_search, table
from support.stubs import StubEstimator

spark = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
data = table(spark)


class Slow(StubEstimator):
    """Makes the server sleep for the second candidate."""

    def _fit(self, dataset):
        if self.getOrDefault(self.x) == 2.0:
            wait = functions.udf(lambda a: time.sleep(2.0) or a, "double")
            dataset.select(wait("a").alias("a")).agg(functions.sum("a")).collect()
        return super()._fit(dataset)


def fit(name, tuner):
    began = time.monotonic()
    model = tuner.fit(data)
    found = trackmllib.results(model).search.candidates
    result = {
        "search": name,
        "averages": [each.hex() for each in model.avgMetrics],
        "reused": [found[index].reused for index in sorted(found)],
        "status": [found[index].status for index in sorted(found)],
        "seconds": time.monotonic() - began,
        "metrics": {name: each.average.hex() for name, each in sorted(found[0].metrics.items())},
    }
    print(json.dumps(result), flush=True)


metrics = {"metrics": ["mae", "r2"], "train_scores": True}
trackmllib.autolog(resume=True, code_version="1", progress=False, **metrics)
fit("first", pipeline_search([0.1, 0.2], numFolds=2))
fit("again", pipeline_search([0.1, 0.2, 0.3], numFolds=2, parallelism=2))
trackmllib.autolog(on_error="skip", candidate_timeout=10.0, progress=False)
fit("slow", rows_search(est=Slow(), numFolds=2))
