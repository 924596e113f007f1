"""Driver that runs short searches, each with a Ctrl-C at a random moment after its last fit.

interrupted_driver.py SEARCHES
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

import trackmllib
from support.searches import stub_search
from support.stubs import StubEstimator


def print_json(**what):
    os.write(1, (json.dumps(what) + "\n").encode())


class Estimator(StubEstimator):
    """Sends a Ctrl-C after its fit in the main thread, which is the refit."""

    sender = None

    def _fit(self, dataset):
        model = super()._fit(dataset)
        if threading.current_thread() is threading.main_thread():
            Estimator.sender = threading.Thread(target=send, args=(moments.uniform(0.0, 0.3),))
            Estimator.sender.start()
        return model


def send(seconds):
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGINT)


def run(number):
    model = None
    try:
        model = stub_search(est=Estimator(), numFolds=2, parallelism=2).fit(points)
        Estimator.sender.join()
        time.sleep(0.1)
    except KeyboardInterrupt:
        pass
    Estimator.sender.join()
    print_json(search=number, end="interrupted" if model is None else "model")


moments = random.Random(5)
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.setLogLevel("OFF")
points = spark.createDataFrame([(Vectors.dense([1.0]), float(i % 2)) for i in range(40)])
points = points.toDF("features", "label")
trackmllib.autolog()
for number in range(int(sys.argv[1])):
    run(number)
print_json(flushed=trackmllib.flush(60))
spark.stop()
