"""Speedup by ``reuse_stages`` and ``parallel_folds``, tracked, against untracked stock Spark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks import datasets, fit_overhead
from benchmarks.measurement import Bench
from benchmarks.ratios import LEAST_ROUNDS, PEER, Row, compared
from benchmarks.stores import sqlite

# Typical lengths of reviews and posts.
TEXTS, WORDS = 4_000, 300
REPEATS, SECONDS = 5, 36.0
WITH_BOTH = (
    "`autolog(reuse_stages=True, parallel_folds=True)`, recorded in SQLite, with `fit()` waiting "
    "for its record, against the search untracked and without options; the averages are the "
    "same to the last bit"
)


def _tuner(estimator: Any, grid: Any, parallelism: int, smoke: bool) -> Any:
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.tuning import CrossValidator

    return CrossValidator(
        estimator=estimator,
        estimatorParamMaps=grid.build(),
        evaluator=MulticlassClassificationEvaluator(metricName="f1"),
        numFolds=2 if smoke else 3,
        parallelism=parallelism,
        seed=1,
    )


def pca_tuner(smoke: bool = False) -> Any:
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import DecisionTreeClassifier
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.feature import PCA, StandardScaler, StringIndexer
    from pyspark.ml.tuning import ParamGridBuilder

    tree = DecisionTreeClassifier(labelCol="index", featuresCol="parts", seed=1)
    stages = [
        StringIndexer(inputCol="label", outputCol="index"),
        StandardScaler(inputCol="features", outputCol="scaled", withMean=True),
        PCA(k=20, inputCol="scaled", outputCol="parts"),
        tree,
    ]
    grid = ParamGridBuilder().addGrid(tree.maxDepth, [3, 5] if smoke else [3, 5, 7])
    tuner = _tuner(
        Pipeline(stages=stages), grid.addGrid(tree.maxBins, [8] if smoke else [8, 16, 32]), 2, smoke
    )
    return tuner.setEvaluator(MulticlassClassificationEvaluator(labelCol="index", metricName="f1"))


def text_tuner(smoke: bool = False) -> Any:
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import IDF, HashingTF, StopWordsRemover, Tokenizer
    from pyspark.ml.tuning import ParamGridBuilder

    idf = IDF(inputCol="counts", outputCol="features")
    # As many steps as in the example of Spark's tuning guide.
    regression = LogisticRegression(maxIter=10)
    stages = [
        Tokenizer(inputCol="text", outputCol="words"),
        StopWordsRemover(inputCol="words", outputCol="kept"),
        HashingTF(inputCol="kept", outputCol="counts", numFeatures=1 << 14),
        idf,
        regression,
    ]
    grid = ParamGridBuilder().addGrid(idf.minDocFreq, [0, 5] if smoke else [0, 5, 20])
    return _tuner(
        Pipeline(stages=stages),
        grid.addGrid(regression.regParam, [0.01] if smoke else [0.001, 0.01, 0.1, 1.0]),
        2,
        smoke,
    )


def tree_tuner(smoke: bool = False) -> Any:
    from pyspark.ml.classification import DecisionTreeClassifier
    from pyspark.ml.tuning import ParamGridBuilder

    tree = DecisionTreeClassifier(seed=1)
    grid = ParamGridBuilder().addGrid(tree.maxDepth, [2, 3] if smoke else [2, 3, 4, 5, 6, 7, 8])
    return _tuner(tree, grid.addGrid(tree.maxBins, [8] if smoke else [8, 16, 32]), 2, smoke)


def uneven_tuner(smoke: bool = False) -> Any:
    from pyspark.ml.classification import DecisionTreeClassifier
    from pyspark.ml.tuning import ParamGridBuilder

    tree = DecisionTreeClassifier(seed=1)
    grid = ParamGridBuilder().addGrid(tree.maxDepth, [2, 5] if smoke else list(range(2, 13)))
    return _tuner(tree, grid, 4, smoke)


def on_pca(bench: Bench) -> Iterator[Row]:
    from pyspark.ml.feature import PCA

    digits = datasets.digits(bench.spark, bench.pick(datasets.DIGITS, 200))
    # Two concurrent first calls of Java's LAPACK may deadlock, with stock Spark as well.
    PCA(k=1, inputCol="features", outputCol="first").fit(digits)
    yield from _row(
        bench,
        pca_tuner,
        digits,
        name="options-pca",
        question="Both options: shared scaling and PCA",
        meaning="StringIndexer, StandardScaler, PCA(20), DecisionTreeClassifier on scikit-learn's "
        f"digits, 9 candidates x 3 folds, parallelism 2. {WITH_BOTH}.",
        bound=0.5,
    )


def on_text(bench: Bench) -> Iterator[Row]:
    texts = datasets.texts(bench.spark, bench.pick(TEXTS, 100), bench.pick(WORDS, 20))
    yield from _row(
        bench,
        text_tuner,
        texts,
        name="options-text",
        question="Both options: shared words",
        meaning="Tokenizer, StopWordsRemover, HashingTF, IDF, LogisticRegression (10 steps) on "
        f"{TEXTS:,} made texts of {WORDS} words; 3 values of IDF's minDocFreq x 4 of the "
        "regression's regParam, 3 folds, parallelism 2. As above.",
        bound=0.5,
        least=1,
    )


def on_tree(bench: Bench) -> Iterator[Row]:
    yield from _row(
        bench,
        tree_tuner,
        datasets.digits(bench.spark, bench.pick(datasets.DIGITS, 200)),
        name="options-tree",
        question="Both options: nothing to share",
        meaning="A bare DecisionTreeClassifier on the digits, 7 depths x 3 numbers of bins, 3 "
        "folds, parallelism 2. As above.",
        bound=1.02,
    )


def on_uneven(bench: Bench) -> Iterator[Row]:
    yield from _row(
        bench,
        uneven_tuner,
        datasets.digits(bench.spark, bench.pick(datasets.DIGITS, 200)),
        name="options-uneven",
        question="Both options: uneven candidates",
        meaning="A bare DecisionTreeClassifier on the digits, maxDepth 2 to 12, 3 folds, "
        "parallelism 4. As above.",
        bound=1.0,
        below=True,
    )


def _row(
    bench: Bench, tuner: Any, rows: Any, least: int = LEAST_ROUNDS, **about: Any
) -> Iterator[Row]:
    store = sqlite(bench.new_folder(about["name"]))
    options = {"reuse_stages": True, "parallel_folds": True}
    if not bench.smoke:
        # Warm up with few candidates.
        bench.compare(lambda: tuner(True), rows, store, 1, SECONDS, warm_ups=0, **options)
    taken = bench.compare(
        lambda: tuner(bench.smoke),
        rows,
        store,
        REPEATS,
        SECONDS,
        same=True,
        warm_ups=0,
        least=least,
        **options,
    )
    if bench.sampler is None:
        yield compared(
            fit_overhead.seconds(taken), without={PEER: "has none: it shares nothing"}, **about
        )
