"""Overhead of tracking real models, on classic Spark and Spark Connect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks import datasets, fit_overhead, own_session
from benchmarks.measurement import Bench
from benchmarks.ratios import OURS, PEER, UNTRACKED, Row, Spread, compared, ratio
from benchmarks.stores import Store, sqlite

IMAGES, SMOKE_IMAGES = 6_000, 100
# Two rounds take three to four minutes; with less time left, one round runs.
REPEATS, SECONDS, LEAST = 5, 200.0, 1
# One round was too few: its ratio ranged from 0.92 to 1.105.
LEAST_ON_CONNECT = 3
DEPTHS, BINS = (2, 3, 4), (2, 4, 6, 8, 12, 16, 32)
# Candidates of the warm-up and of the peer, which has no bound.
FEW_BINS = (8,)
FEW = len(DEPTHS) * len(FEW_BINS)
WHAT = (
    "Pipeline of StringIndexer and DecisionTreeClassifier, 3 depths x 7 numbers of bins, 3 folds, "
    "on 6,000 images of 784 pixels as sparse vectors, parallelism 2, SQLite"
)


def tuner(depths: Sequence[int], bins: Sequence[int], folds: int = 3) -> Any:
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import DecisionTreeClassifier
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.feature import StringIndexer
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    tree = DecisionTreeClassifier(labelCol="index", seed=1)
    grid = ParamGridBuilder().addGrid(tree.maxDepth, list(depths))
    return CrossValidator(
        estimator=Pipeline(stages=[StringIndexer(inputCol="label", outputCol="index"), tree]),
        estimatorParamMaps=grid.addGrid(tree.maxBins, list(bins)).build(),
        evaluator=MulticlassClassificationEvaluator(labelCol="index", metricName="f1"),
        numFolds=folds,
        parallelism=2,
        seed=1,
    )


def images(bench: Bench) -> Any:
    return datasets.images(bench.spark, bench.pick(IMAGES, SMOKE_IMAGES))


def peer(bench: Bench, rows: Any, store: Store) -> Spread | None:
    """Return the ratio of MLflow's own autologging to untracked, on a few candidates.

    Runs after the other variants, when everything is warm.
    """
    if bench.sampler is not None:
        return None
    few = bench.pick((DEPTHS, FEW_BINS), ([2], [2], 2))
    taken = fit_overhead.seconds(
        bench.compare(
            lambda: tuner(*few), rows, store, 1, SECONDS, (OURS, UNTRACKED, PEER), warm_ups=0
        )
    )
    return ratio(taken[PEER], taken[UNTRACKED])


def seconds(bench: Bench, rows: Any, store: Store, least: int = LEAST) -> dict[str, list[float]]:
    """Return the seconds of the searches by variant, after a warm-up."""
    all_of_them = bench.pick((DEPTHS, BINS), ([2], [2], 2))
    taken = bench.compare(
        lambda: tuner(*all_of_them),
        rows,
        store,
        REPEATS,
        SECONDS,
        same=True,
        warm_ups=0,
        least=least,
    )
    return fit_overhead.seconds(taken)


def on_classic(bench: Bench) -> Iterator[Row]:
    rows, store = images(bench), sqlite(bench.new_folder("trees"))
    beside = peer(bench, rows, store)
    took = seconds(bench, rows, store)
    if bench.sampler is None:
        yield compared(
            took,
            name="trees",
            question="Real trees",
            meaning=f"{WHAT}. The averages are the same to the last bit. The peer once, on "
            f"{FEW} of the candidates, against untracked on as many.",
            bound=1.02,
            peer=beside,
        )


def on_connect(bench: Bench) -> Iterator[Row]:
    # The tests start the server as sbin/start-connect-server.sh does.
    from integration.connect_client import connect_server

    with connect_server(bench.new_folder("server-of-connect", create=True)) as (remote, _):
        result = own_session.figures(bench, "connect", remote=remote)
    if result is not None:
        yield compared(
            result["took"],
            name="connect",
            question="Real trees, through Spark Connect",
            meaning="The same searches, by a client of a Spark Connect server. With a session "
            "there, `mlflow.pyspark.ml.autolog()` fails unless it is given a "
            "`log_model_allowlist`, because it asks the session for its `sparkContext`; here it is "
            "given one.",
            bound=1.03,
            peer=Spread(*result["peer"]),
        )


def figures_on_connect(bench: Bench) -> dict[str, Any]:
    """Figures of ``on_connect``, in a client's process."""
    rows, store = images(bench), sqlite(bench.new_folder("trees"))
    beside = peer(bench, rows, store)
    return {"took": seconds(bench, rows, store, LEAST_ON_CONNECT), "peer": beside}
