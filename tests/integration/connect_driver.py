"""Program on Spark Connect that prints what it observes.

connect_driver.py SETTINGS, a JSON object:

remote: the URL of the session
name: prefix of its run names
searches: names of searches, in order; ``again`` runs one with recording disabled
stop_at_score: after so many scores, wait for a line on standard input
tries: number of retries of Spark's client
bare: fit without an active run
log_models: which models are logged
look: run each search with and without recording; print the live models and the calls
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
import os
import sys
import time
import traceback
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import grpc
import mlflow
import pyspark

import trackmllib

settings = json.loads(sys.argv[1])
calls: Counter[str] = Counter()


def print_json(**what: Any) -> None:
    os.write(1, (json.dumps(what) + "\n").encode())


class PrintWarnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print_json(warning=record.getMessage())


class Counting(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Counts the calls to the Connect server, by method."""

    def intercept_unary_unary(self, continuation, details, request):
        calls[details.method.rpartition("/")[2]] += 1
        return continuation(details, request)

    intercept_unary_stream = intercept_unary_unary


_insecure_channel = grpc.insecure_channel
grpc.insecure_channel = lambda *args, **named: grpc.intercept_channel(
    _insecure_channel(*args, **named), Counting()
)


def connect() -> Any:
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.remote(settings["remote"]).getOrCreate()
    if "tries" in settings:
        from pyspark.sql.connect.client.retries import DefaultPolicy

        spark.client.set_retry_policies([DefaultPolicy(max_retries=settings["tries"])])
    return spark


def rows(spark: Any) -> Any:
    from pyspark.ml.linalg import Vectors

    made = [
        (Vectors.dense([i * 7 % 100 / 100, i * 13 % 50 / 50, i % 3]), float(i * 7 % 100 > 55))
        for i in range(120)
    ]
    return spark.createDataFrame(made, ["features", "label"])


def search(name: str) -> Any:
    from support.searches import stub_search, tree_search

    if name == "tree":
        return tree_search()
    if name == "trees at once":
        return tree_search(parallelism=2)
    if name == "stub":
        return stub_search(seed=3)
    if name == "two trees":
        tuner = tree_search()
        return tuner.setEstimatorParamMaps(tuner.getEstimatorParamMaps()[:2])
    # Imported late, so that the Connect session exists before Spark's tuner is imported.
    from integration.mean_search import mean_search

    if name == "one mean":
        return mean_search([0.5])
    return mean_search(parallelism=2 if name == "means at once" else 1)


def listen(tuner: Any, on_score: Any) -> None:
    """Call ``on_score`` with every score of a tuner's evaluator."""
    evaluator = tuner.getEvaluator()
    evaluate = evaluator._evaluate

    def listening(dataset: Any) -> float:
        score = evaluate(dataset)
        on_score(score)
        return score

    evaluator._evaluate = listening


def active_run(name: str) -> Any:
    """Start a run; MLflow's client reads the Spark conf, which needs a server."""
    if settings.get("bare"):
        return nullcontext()
    return mlflow.start_run(run_name=f"{settings['name']} {name}")


def record(name: str, data: Any) -> None:
    tuner = search(name)
    scores: list[float] = []

    def on_score(score: float) -> None:
        scores.append(score)
        if len(scores) == settings.get("stop_at_score"):
            print_json(stopped=name)
            sys.stdin.readline()

    listen(tuner, on_score)
    before = calls.copy()
    try:
        with active_run(name):
            model = tuner.fit(data)
    except Exception as error:  # noqa: BLE001 - printed below
        kind = type(error)
        print_json(
            search=name,
            error=f"{kind.__module__}.{kind.__name__}",
            frames=[frame.name for frame in traceback.extract_tb(error.__traceback__)],
            scores=[score.hex() for score in scores],
            calls=calls - before,
        )
        return
    print_json(
        search=name,
        candidates=len(tuner.getEstimatorParamMaps()),
        averages=[float(average).hex() for average in model.avgMetrics],
        deviations=[float(deviation).hex() for deviation in model.stdMetrics],
        scores=[score.hex() for score in scores],
    )


def look(name: str, spark: Any) -> None:
    """Print the live models at each score and at the end, on client and server."""
    from pyspark.ml.util import RemoteModelRef

    from integration.mean_search import MeanModel

    gc.collect()
    gc.disable()
    for recorded in (False, True):
        trackmllib.autolog(disable=not recorded, flush_timeout=120)
        tuner = search(name)
        counts: list[tuple[int, int, int]] = []

        def count(score: float, counts: Any = counts) -> None:
            refs = sum(isinstance(thing, RemoteModelRef) for thing in gc.get_objects())
            counts.append((len(spark.client._get_ml_cache_info()), refs, len(MeanModel.alive)))

        listen(tuner, count)
        data = rows(spark)
        before = calls.copy()
        model = tuner.fit(data)
        used = calls - before
        count(0.0)
        del model, tuner, data
        count(0.0)
        print_json(search=name, recorded=recorded, models=counts, calls=used)
    gc.enable()


logging.getLogger("trackmllib").addHandler(PrintWarnings())
if not settings.get("look"):
    trackmllib.autolog(flush_timeout=120, log_models=settings.get("log_models", "none"))
print_json(
    ready=os.getpid(),
    jars=(Path(pyspark.__file__).parent / "jars").exists(),
    py4j=importlib.util.find_spec("py4j") is not None,
)
spark = connect()
data = rows(spark)
if settings.get("look"):
    # Spark's client sends its own requests to a new server first.
    search("one mean").fit(data)
for name in settings["searches"]:
    began = time.monotonic()
    if name == "again":
        trackmllib.autolog(disable=True)
        search("stub").fit(data)
        search("one mean").fit(data)
        trackmllib.autolog(flush_timeout=120)
    elif settings.get("look"):
        look(name, spark)
    else:
        record(name, data)
    print_json(took=name, seconds=time.monotonic() - began)
print_json(done=True)
