"""Random searches on Spark Connect, with and without ``accelerate``.

connect_middleware_driver.py URL SEEDS prints for each seed whether all numbers are the same, and
how many models of the server are left for Python's garbage collector. pyspark may wait forever if a
model is collected during another call or at the exit of Python. The last search keeps the output of
more stages than a session of the server caches plans for.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.ml.util import RemoteModelRef
from pyspark.sql import SparkSession

import trackmllib
from support import random_searches

spark = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
data = random_searches.rows(spark)
tuners = [
    *map(random_searches.random_search, range(int(sys.argv[2]))),
    random_searches.wide_search(),
]
for number, tuner in enumerate(tuners):
    trackmllib.autolog(disable=True)
    expected = random_searches.outcome(tuner.fit(data))
    trackmllib.autolog(
        record=False, progress=False, reuse_stages=True, nested_fits=True, parallel_folds=True
    )
    gc.collect()
    gc.disable()
    found = random_searches.outcome(tuner.fit(data))
    left = sum(type(one) is RemoteModelRef and one._ref_count > 0 for one in gc.get_objects())
    gc.enable()
    shared = any(stage.shared_by for stage in trackmllib.explain(tuner).stages)
    result = {"number": number, "same": found == expected, "shared": shared, "left": left}
    print(json.dumps(result), flush=True)
