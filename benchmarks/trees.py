"""What tracking adds to a search of real models, on classic Spark and through Spark Connect."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks import data, stub
from benchmarks.bench import Bench
from benchmarks.figures import Row, compared
from benchmarks.stores import sqlite

IMAGES, SMOKE_IMAGES = 6_000, 200
REPEATS, SECONDS = 5, 150.0
WHAT = (
    "Pipeline of StringIndexer and DecisionTreeClassifier, 7 depths x 3 numbers of bins, 3 folds, "
    "on 6,000 images of 784 pixels as sparse vectors, parallelism 2, SQLite"
)


def tuner(smoke: bool = False) -> Any:
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import DecisionTreeClassifier
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.feature import StringIndexer
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    tree = DecisionTreeClassifier(labelCol="index", seed=1)
    grid = ParamGridBuilder().addGrid(tree.maxDepth, [2] if smoke else [2, 3, 4, 5, 6, 7, 8])
    return CrossValidator(
        estimator=Pipeline(stages=[StringIndexer(inputCol="label", outputCol="index"), tree]),
        estimatorParamMaps=grid.addGrid(tree.maxBins, [2, 4] if smoke else [2, 4, 8]).build(),
        evaluator=MulticlassClassificationEvaluator(labelCol="index", metricName="f1"),
        numFolds=2 if smoke else 3,
        parallelism=2,
        seed=1,
    )


def seconds(bench: Bench) -> dict[str, list[float]]:
    """The seconds of the searches on the session of ``bench``, by variant."""
    rows = data.images(bench.spark, bench.pick(IMAGES, SMOKE_IMAGES))
    store = sqlite(bench.new_folder("trees"))
    taken = bench.compare(lambda: tuner(bench.smoke), rows, store, REPEATS, SECONDS, same=True)
    return stub.seconds(taken)


def on_classic(bench: Bench) -> Iterator[Row]:
    took = seconds(bench)
    if bench.sampler is None:
        yield compared(
            took,
            name="trees",
            question="Real trees",
            meaning=f"{WHAT}. The averages are the same to the last bit.",
            bound=1.02,
        )


def on_connect(bench: Bench) -> Iterator[Row]:
    # Its tests start the server as sbin/start-connect-server.sh does.
    from places.connect_place import connect_server

    folder = bench.new_folder("connect")
    folder.mkdir()
    with connect_server(folder) as (remote, _):
        said = subprocess.run(
            [sys.executable, "-m", "benchmarks.connect", _settings(bench, remote, str(folder))],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    if bench.sampler is None:
        yield compared(
            json.loads(said.splitlines()[-1]),
            name="connect",
            question="Real trees, through Spark Connect",
            meaning="The same searches, by a client of a Spark Connect server.",
            bound=1.03,
        )


def _settings(bench: Bench, remote: str, folder: str) -> str:
    return json.dumps(
        {
            "remote": remote,
            "folder": folder,
            "smoke": bench.smoke,
            "profile": bench.sampler is not None,
        }
    )
