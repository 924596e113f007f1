"""Nested fits on Spark Connect: ``connect_nested_driver.py URL`` prints a line per search.

Each line has the class of the estimator, whether all averages equal those without the option, the
number of fits of both, the models that are left on the server, and the warnings.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.ml import Pipeline, feature
from pyspark.ml.classification import DecisionTreeClassifier, LogisticRegression
from pyspark.ml.tuning import ParamGridBuilder
from pyspark.ml.util import RemoteModelRef
from pyspark.sql import SparkSession

import trackmllib
from support import random_searches
from support.nested_searches import search

messages: list[str] = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger("trackmllib").addHandler(handler)

fits = 0
for kind in (DecisionTreeClassifier, LogisticRegression, feature.StandardScaler):

    def counting(self, dataset, fit=kind._fit):
        global fits
        fits += 1
        return fit(self, dataset)

    kind._fit = counting

spark = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
data = random_searches.rows(spark)
logistic = LogisticRegression(featuresCol="raw", maxIter=2)
scaler = feature.StandardScaler(inputCol="raw", outputCol="scaled")
last = LogisticRegression(featuresCol="scaled", maxIter=2)
tree = DecisionTreeClassifier(featuresCol="raw")
searches = [
    # The last candidate keeps Spark's own threshold.
    search(logistic, [{logistic.threshold: 0.2}, {logistic.threshold: 0.9}, {}]),
    search(
        Pipeline(stages=[scaler, last]),
        ParamGridBuilder().addGrid(scaler.withMean, [True, False]).build(),
    ),
    search(tree, ParamGridBuilder().addGrid(tree.maxDepth, [1, 3]).build()),
]
for tuner in searches:
    trackmllib.autolog(disable=True)
    fits = 0
    expected = tuner.fit(data).avgMetrics
    stock_fits = fits
    trackmllib.autolog(record=False, progress=False, nested_fits=True)
    fits = 0
    messages.clear()
    gc.collect()
    gc.disable()
    model = tuner.fit(data)
    found = model.avgMetrics
    del model
    left = sum(type(one) is RemoteModelRef and one._ref_count > 0 for one in gc.get_objects())
    gc.enable()
    result = {
        "estimator": type(tuner.getEstimator()).__name__,
        "same": found == expected,
        "fits": [stock_fits, fits],
        "left": left,
        "messages": messages,
    }
    print(json.dumps(result), flush=True)
