"""Speedup by ``accelerate`` and its options, against stock Spark."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks import datasets, fit_overhead, own_session
from benchmarks.measurement import Bench, Measurement
from benchmarks.ratios import LEAST_ROUNDS, OURS, PEER, UNTRACKED, Row, compared
from benchmarks.stores import sqlite

# Typical lengths of reviews and posts.
TEXTS, WORDS = 4_000, 300
IMAGES = 6_000
REPEATS, SECONDS = 5, 36.0
BOTH = {"reuse_stages": True, "parallel_folds": True}
ACCELERATE = {"accelerate": True}
# Slots of the cluster on which folds are computed in parallel, and seconds of a fit's one task.
SLOTS, TASK_SECONDS = 20, 2.0
WITH_ACCELERATE = (
    "`autolog(accelerate=True)`, recorded in SQLite, with `fit()` waiting for its record, against "
    "the search untracked and without options; the averages are the same to the last bit"
)
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


def notebook_tuner(smoke: bool = False) -> Any:
    """Like Databricks' notebook "Automated MLflow tracking in MLlib"."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import DecisionTreeClassifier
    from pyspark.ml.evaluation import MulticlassClassificationEvaluator
    from pyspark.ml.feature import StringIndexer
    from pyspark.ml.tuning import ParamGridBuilder

    tree = DecisionTreeClassifier(labelCol="index", seed=1)
    grid = ParamGridBuilder().addGrid(tree.maxDepth, [1, 2] if smoke else [1, 2, 3, 4, 5, 6, 7])
    grid = grid.addGrid(tree.maxBins, [2] if smoke else [2, 4, 8])
    stages = [StringIndexer(inputCol="label", outputCol="index"), tree]
    tuner = _tuner(Pipeline(stages=stages), grid, 1, smoke)
    return tuner.setEvaluator(MulticlassClassificationEvaluator(labelCol="index", metricName="f1"))


def boosting_tuner(smoke: bool = False) -> Any:
    from pyspark.ml.classification import GBTClassifier
    from pyspark.ml.tuning import ParamGridBuilder

    boosted = GBTClassifier(labelCol="odd", maxDepth=3, seed=1)
    grid = ParamGridBuilder().addGrid(boosted.maxIter, [1, 2] if smoke else [5, 10, 20, 40])
    tuner = _tuner(boosted, grid, 1, smoke)
    return tuner.setEvaluator(tuner.getEvaluator().setLabelCol("odd"))


def components_tuner(smoke: bool = False) -> Any:
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import PCA, StandardScaler
    from pyspark.ml.tuning import ParamGridBuilder

    components = PCA(inputCol="scaled", outputCol="parts")
    last = LogisticRegression(featuresCol="parts", maxIter=10)
    stages = [StandardScaler(inputCol="features", outputCol="scaled"), components, last]
    grid = ParamGridBuilder().addGrid(components.k, [2, 3] if smoke else [5, 10, 20, 40])
    grid = grid.addGrid(last.regParam, [0.01] if smoke else [0.001, 0.01, 0.1])
    return _tuner(Pipeline(stages=stages), grid, 2, smoke)


def on_notebook(bench: Bench) -> Iterator[Row]:
    yield from _row(
        bench,
        notebook_tuner,
        datasets.images(bench.spark, bench.pick(IMAGES, 100)),
        name="accelerate-trees",
        question="Accelerated: decision trees, maxDepth 1 to 7 x maxBins 2, 4, 8",
        meaning="StringIndexer and DecisionTreeClassifier on 6,000 images of 784 pixels, 21 "
        f"candidates x 3 folds, parallelism 1. {WITH_ACCELERATE}.",
        bound=0.33,
        options=ACCELERATE,
        least=5,
        seconds=900.0,
    )


def on_boosting(bench: Bench) -> Iterator[Row]:
    digits = datasets.digits(bench.spark, bench.pick(datasets.DIGITS, 200))
    yield from _row(
        bench,
        boosting_tuner,
        digits.withColumn("odd", digits["label"] % 2),
        name="accelerate-boosting",
        question="Accelerated: GBTClassifier, maxIter 5, 10, 20, 40",
        meaning="A bare GBTClassifier of depth 3 on odd and even digits, 3 folds, parallelism 1. "
        "As above.",
        bound=0.65,
        options=ACCELERATE,
        least=3,
        seconds=300.0,
    )


def on_components(bench: Bench) -> Iterator[Row]:
    yield from _row(
        bench,
        components_tuner,
        _digits_for_pca(bench),
        name="accelerate-components",
        question="Accelerated: PCA k x regParam, 12 candidates",
        meaning="StandardScaler, PCA of 5, 10, 20 or 40 components, LogisticRegression of 3 "
        "values of regParam on the digits, 3 folds, parallelism 2. As above.",
        bound=1.0,
        below=True,
        options=ACCELERATE,
    )


def figures_on_cluster(bench: Bench) -> dict[str, Any]:
    """Seconds until the last score, and of ``fit()``, of fits that wait in ``SLOTS`` tasks."""
    from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

    from benchmarks.waiting_estimator import WaitingEstimator, WaitingEvaluator

    estimator = WaitingEstimator(seconds=bench.pick(TASK_SECONDS, 0.01))
    evaluator = WaitingEvaluator()
    tuner = CrossValidator(
        estimator=estimator,
        estimatorParamMaps=ParamGridBuilder().addGrid(estimator.size, [1, 2, 3, 4]).build(),
        evaluator=evaluator,
        numFolds=bench.pick(5, 2),
        parallelism=SLOTS,
        seed=1,
    )
    rows = bench.spark.range(100).cache()
    rows.count()
    options = {"parallel_folds": True, "max_cached_folds": 5}
    store = sqlite(bench.new_folder("folds"))
    taken = bench.compare(
        lambda: tuner, rows, store, REPEATS, 200.0, same=True, warm_ups=1, least=3, **options
    )
    scores = {
        variant: [_until_last_score(search, evaluator.times) for search in found]
        for variant, found in taken.items()
    }
    return {"scores": scores, "fit": fit_overhead.seconds(taken)}


def _until_last_score(search: Measurement, times: list[float]) -> float:
    """Seconds from the start of a search until its last score, given the times of all scores."""
    return max(each for each in times if each < search.ended) - (search.ended - search.seconds)


def on_cluster(bench: Bench) -> Iterator[Row]:
    found = own_session.figures(bench, "cluster", master=f"local[{SLOTS}]")
    if found is not None:
        whole = {variant: statistics.median(each) for variant, each in found["fit"].items()}
        yield compared(
            found["scores"],
            name="folds-cluster",
            question="Folds in parallel, on a cluster with free slots",
            meaning=f"4 candidates x 5 folds of fits that wait {TASK_SECONDS:g} s in a task, on "
            f"{SLOTS} slots, parallelism {SLOTS}, until the last score. "
            "`autolog(parallel_folds=True, max_cached_folds=5)`, recorded in SQLite, with `fit()` "
            "waiting for its record, against the search untracked and without options. The whole "
            f"`fit()`, with a refit that takes as long in both, takes {whole[OURS]:.3g} s instead "
            f"of {whole[UNTRACKED]:.3g} s.",
            bound=0.3,
            without={PEER: "has none: it computes fold by fold"},
        )


def _digits_for_pca(bench: Bench) -> Any:
    """The digits, after a first PCA.

    It initializes Java's LAPACK (trackmllib/spark/middleware/lapack.py), because the searches
    without options don't.
    """
    from pyspark.ml.feature import PCA

    digits = datasets.digits(bench.spark, bench.pick(datasets.DIGITS, 200))
    PCA(k=1, inputCol="features", outputCol="first").fit(digits)
    return digits


def on_pca(bench: Bench) -> Iterator[Row]:
    yield from _row(
        bench,
        pca_tuner,
        _digits_for_pca(bench),
        name="options-pca",
        question="Accelerated: shared scaling and PCA",
        meaning="StringIndexer, StandardScaler, PCA(20), DecisionTreeClassifier on scikit-learn's "
        "digits, 3 depths x 3 numbers of bins x 3 folds, parallelism 2. As above.",
        bound=0.5,
        options=ACCELERATE,
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
        f"regression's regParam, 3 folds, parallelism 2. {WITH_BOTH}.",
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
    bench: Bench,
    tuner: Any,
    rows: Any,
    *,
    options: dict[str, Any] = BOTH,
    least: int = LEAST_ROUNDS,
    seconds: float = SECONDS,
    **about: Any,
) -> Iterator[Row]:
    store = sqlite(bench.new_folder(about["name"]))
    if not bench.smoke:
        # Warm up with few candidates.
        bench.compare(lambda: tuner(True), rows, store, 1, seconds, warm_ups=0, **options)
    taken = bench.compare(
        lambda: tuner(bench.smoke),
        rows,
        store,
        REPEATS,
        seconds,
        same=True,
        warm_ups=0,
        least=least,
        **options,
    )
    if bench.sampler is None:
        yield compared(
            fit_overhead.seconds(taken), without={PEER: "has none: it shares nothing"}, **about
        )
