"""Random searches on Spark Connect, with reuse_stages and parallel_folds and without; then one that
keeps the output of more stages than a session of the server knows plans by heart. Run by the tests:
switches_driver.py URL SEEDS; says of each whether all numbers are the same, and how many models of
the server are left for Python's collector, which would delete them in the middle of another call or
when Python ends, and there pyspark waits for ever.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.ml.util import RemoteModelRef
from pyspark.sql import SparkSession

import random_searches
import trackmllib

spark = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
data = random_searches.rows(spark)
tuners = [
    *map(random_searches.random_search, range(int(sys.argv[2]))),
    random_searches.wide_search(),
]
for number, tuner in enumerate(tuners):
    trackmllib.autolog(disable=True)
    expected = random_searches.outcome(tuner.fit(data))
    trackmllib.autolog(record=False, progress=False, reuse_stages=True, parallel_folds=True)
    gc.collect()
    gc.disable()
    found = random_searches.outcome(tuner.fit(data))
    left = sum(type(one) is RemoteModelRef and one._ref_count > 0 for one in gc.get_objects())
    gc.enable()
    shared = any(stage.shared_by for stage in trackmllib.explain(tuner).stages)
    said = {"number": number, "same": found == expected, "shared": shared, "left": left}
    print(json.dumps(said), flush=True)
