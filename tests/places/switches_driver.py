"""Random searches on Spark Connect, with reuse_stages and parallel_folds and without. Run by the
tests: switches_driver.py URL SEEDS; says of each seed whether all numbers are the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.sql import SparkSession

import random_searches
import trackmllib

spark = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
data = random_searches.rows(spark)
for seed in range(int(sys.argv[2])):
    tuner = random_searches.random_search(seed)
    trackmllib.autolog(disable=True)
    expected = random_searches.outcome(tuner.fit(data))
    trackmllib.autolog(record=False, progress=False, reuse_stages=True, parallel_folds=True)
    found = random_searches.outcome(tuner.fit(data))
    shared = any(stage.shared_by for stage in trackmllib.explain(tuner).stages)
    print(json.dumps({"seed": seed, "same": found == expected, "shared": shared}), flush=True)
