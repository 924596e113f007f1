"""``resume``, ``on_error`` and ``candidate_timeout`` on Spark Connect. Run by the tests:
resume_driver.py URL; says what became of three searches.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.sql import SparkSession, functions

import trackmllib
from resuming import rows_search, table, tree_pipeline
from stubs import StubEstimator

spark = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
data = table(spark)


class Slow(StubEstimator):
    """Has the server sleep for the second candidate."""

    def _fit(self, dataset):
        if self.getOrDefault(self.x) == 2.0:
            wait = functions.udf(lambda a: time.sleep(0.5) or a, "double")
            dataset.select(wait("a").alias("a")).agg(functions.sum("a")).collect()
        return super()._fit(dataset)


def fit(name, tuner):
    began = time.monotonic()
    model = tuner.fit(data)
    found = trackmllib.results(model).search.candidates
    said = {
        "search": name,
        "averages": [each.hex() for each in model.avgMetrics],
        "taken": [found[index].taken_up for index in sorted(found)],
        "status": [found[index].status for index in sorted(found)],
        "seconds": time.monotonic() - began,
    }
    print(json.dumps(said), flush=True)


trackmllib.autolog(resume=True, code_version="1", progress=False)
fit("first", tree_pipeline([1, 2], numFolds=2))
fit("again", tree_pipeline([1, 2, 3], numFolds=2, parallelism=2))
trackmllib.autolog(on_error="skip", candidate_timeout=2.0, progress=False)
fit("slow", rows_search(est=Slow(), numFolds=2))
