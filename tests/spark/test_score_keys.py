"""Fits with equal keys have equal scores, to the last bit.

Compares pairs of searches that differ in one thing, and checks that the comparison detects keys
that were weakened on purpose. The scores are stock Spark's: nothing is recorded, so nothing can be
reused.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import operator
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import (
    DecisionTreeClassifier,
    LogisticRegression,
    RandomForestClassifier,
)
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import SQLTransformer, StandardScaler, VectorAssembler
from pyspark.ml.param import Param
from pyspark.ml.tuning import CrossValidator
from pyspark.sql import functions

import trackmllib
from support.installed_package import forget_distributions, install
from support.resume_searches import RowsEvaluator, WarmStart
from support.stubs import StubEstimator, StubModel
from trackmllib.spark.introspection import distributions
from trackmllib.spark.middleware.score_reuse import data_fingerprint, keys, middleware

pytestmark = pytest.mark.slow

PAIRS = 200
SEED = 15


@dataclass(frozen=True)
class Spec:
    """A search and its data, conf and options."""

    kind: str = "own"
    seed: int = 5
    folds: int = 2
    fold_col: bool = True
    parallelism: int = 1
    grid: tuple[int, ...] = (1, 2)
    est: tuple[tuple[str, Any], ...] = ()
    metric: str = "f1"
    factor: float = 1.0
    state: float = 1.0
    code: str = "1"
    loops: int = 1
    order: int = 1
    partitions: int = 2
    changed: float = 0.0
    zero: float = 0.0
    metadata: str = ""
    cached: bool = False
    conf: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    library: str = "1.0"
    # A value that only some kinds of search use.
    special: float = 1.0
    # Distinguishes searches of the same spec, which differ only in uids.
    again: int = 0


class Scaled(StubEstimator):
    """User code; ``factors`` has its behavior, by code version."""

    factors: ClassVar = {"1": 1.0, "2": 3.0}

    def __init__(self, code: str, state: float) -> None:
        super().__init__()
        self.state = state
        self._code = None
        Scaled.now = self.factors[code]

    def _fit(self, dataset: Any) -> Any:
        x = self.getOrDefault(self.x) * self.state * Scaled.now
        return super().copy({self.x: x})._fitted(dataset)

    def _fitted(self, dataset: Any) -> Any:
        return StubEstimator._fit(self, dataset)


class Loops(CrossValidator):
    """Runs Spark's loop once or twice, with another evaluator each time."""

    loops = 1

    def _fit(self, dataset: Any) -> Any:
        for number in range(self.loops):
            self.getEvaluator()._set(factor=1.0 + number)
            model = super()._fit(dataset)
        return model


class TrainsElsewhere(CrossValidator):
    """Scales the label of the training data only."""

    factor: ClassVar = 1.0

    def _kFold(self, dataset: Any) -> Any:
        return [
            (train.withColumn("label", train.label * self.factor), validation)
            for train, validation in super()._kFold(dataset)
        ]


class Special(StubEstimator):
    """Computes the ``x`` of its model by ``x_of``, from its own and the data."""

    def fit(self, dataset: Any, params: Any = None) -> Any:
        model = StubModel()
        model._set(x=self.copy(params or {}).x_of(dataset, params or {}))
        return model


class Sums(Special):
    def x_of(self, dataset: Any, params: Any) -> float:
        (row,) = dataset.select(functions.sum("label")).collect()
        return self.getOrDefault(self.x) + row[0]


OUTSIDE_COMPONENT = StubEstimator()


class ReadsGlobal(Special):
    """Reads a param of a component outside itself."""

    def x_of(self, dataset: Any, params: Any) -> float:
        return params.get(OUTSIDE_COMPONENT.y, 1.0)


class Converts(Special):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.x = Param(self, "x", "", functools.partial(operator.mul, factor))

    def x_of(self, dataset: Any, params: Any) -> float:
        return self.getOrDefault(self.x)


class Calls(Special):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def x_of(self, dataset: Any, params: Any) -> float:
        return self.function(self.getOrDefault(self.x))


def times(factor: float) -> Any:
    return lambda x: x * factor


class ReadsView(SQLTransformer):
    """Reads a temporary view, which may be replaced."""


def own_of(spec: Spec) -> Any:
    """An estimator that is user code."""
    if spec.kind == "library":
        return importlib.import_module("scorer_of_tests").Scorer()
    makes = {
        "sums": Sums,
        "warm": WarmStart,
        "global": ReadsGlobal,
        "converts": lambda: Converts(spec.special),
        "calls": lambda: Calls(times(spec.special)),
    }
    return makes.get(spec.kind, lambda: Scaled(spec.code, spec.state))()


def data_of(spark: Any, spec: Spec) -> Any:
    count = 60
    i = functions.col("id") if spec.order > 0 else functions.lit(count - 1) - functions.col("id")
    a = functions.when(i == 30, i * 7 % 100 / 100 + spec.changed).otherwise(i * 7 % 100 / 100)
    found = spark.range(0, count, 1, spec.partitions).select(
        a.alias("a"),
        functions.when(i % 50 == 0, spec.zero).otherwise(i * 13 % 50 / 50).alias("b"),
        functions.when(i * 7 % 100 > 55, 1.0).otherwise(0.0).alias("label"),
        (i % spec.folds).cast("int").alias("fold"),
    )
    if spec.metadata:
        found = found.withMetadata("a", {"ml_attr": {"name": spec.metadata, "type": "numeric"}})
    return found.cache() if spec.cached else found


def tuner_of(spec: Spec) -> Any:
    assembled = VectorAssembler(inputCols=["a", "b"], outputCol="features")
    evaluator: Any = MulticlassClassificationEvaluator(metricName=spec.metric)
    kind: Any = CrossValidator
    if spec.kind in OWN:
        evaluator = RowsEvaluator(factor=spec.factor)
        est: Any = own_of(spec)
        kind = {"loops": Loops, "sums": TrainsElsewhere}.get(spec.kind, CrossValidator)
        TrainsElsewhere.factor = spec.special
        param, stages = est.x, est
    elif spec.kind == "tree":
        est = DecisionTreeClassifier(seed=3, **dict(spec.est))
        param, stages = est.maxDepth, Pipeline(stages=[assembled, est])
    elif spec.kind == "forest":
        est = RandomForestClassifier(seed=3, numTrees=3, **dict(spec.est))
        param, stages = est.maxDepth, Pipeline(stages=[assembled, est])
    else:
        est = LogisticRegression(**dict(spec.est))
        scaled = StandardScaler(inputCol="features", outputCol="scaled")
        est.setFeaturesCol("scaled").setMaxIter(1)
        param, stages = est.regParam, Pipeline(stages=[assembled, scaled, est])
        if spec.kind in ("sql", "view"):
            morning = "double(hour(timestamp_seconds(a * 86400)) < 9)"
            of_view = "(SELECT max(factor) FROM factor_of_tests) - a * a"
            made = morning if spec.kind == "sql" else of_view
            assembled.setInputCols(["c", "b"])
            before = (SQLTransformer if spec.kind == "sql" else ReadsView)(
                statement=f"SELECT *, {made} AS c FROM __THIS__"
            )
            stages = Pipeline(stages=[before, assembled, scaled, est])
    grid: Any = [{param: float(at) / 10 if est.hasParam("regParam") else at} for at in spec.grid]
    if spec.kind == "global":
        grid = [{OUTSIDE_COMPONENT.y: spec.special * 5}, {}]
    tuner = kind(
        estimator=stages,
        estimatorParamMaps=grid,
        evaluator=evaluator,
        numFolds=spec.folds,
        seed=spec.seed,
        parallelism=spec.parallelism,
        **({"foldCol": "fold"} if spec.fold_col else {}),
    )
    if kind is Loops:
        tuner.loops = spec.loops
    return tuner


@contextmanager
def conf_of(spark: Any, spec: Spec) -> Iterator[None]:
    of_context = spark.sparkContext._jsc.sc().conf()
    before = {key: spark.conf.get(key, None) for key, _ in spec.conf}
    try:
        for key, value in spec.conf:
            (of_context if key in OF_CONTEXT else spark.conf).set(key, value)
        yield
    finally:
        for key, value in before.items():
            if key in OF_CONTEXT:
                of_context.remove(key) if value is None else of_context.set(key, value)
            else:
                spark.conf.unset(key) if value is None else spark.conf.set(key, value)


class Searches:
    """Runs searches, each spec once."""

    def __init__(self, spark: Any, library: Any) -> None:
        self._spark = spark
        self._library = library
        self._known: dict[Spec, list[tuple[str, str]]] = {}

    def scores(self, spec: Spec) -> list[tuple[str, str]]:
        """The key and the score of each fit, to the last bit."""
        if spec not in self._known:
            self._known[spec] = list(self._run(spec))
        return self._known[spec]

    def _run(self, spec: Spec) -> Iterator[tuple[str, str]]:
        self._library(spec.library)
        options = {"code_version": spec.code, **dict(spec.options)}
        if spec.kind in BUILT_IN:
            del options["code_version"]
        trackmllib.autolog(resume=True, record=False, progress=False, **options)
        if spec.kind == "view":
            view = self._spark.createDataFrame([(spec.special,)], "factor double")
            view.createOrReplaceTempView("factor_of_tests")
        with conf_of(self._spark, spec):
            data = data_of(self._spark, spec)
            found = trackmllib.results(tuner_of(spec).fit(data)).search
        if spec.cached:
            data.unpersist(blocking=True)
        for index, candidate in found.candidates.items():
            for fold, fold_fit in candidate.fits.items():
                assert fold_fit.score is not None
                yield found.keys[fold].keys[index], fold_fit.score.hex()


@pytest.fixture
def searches(spark, tmp_path, monkeypatch, lenient):
    folder = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(folder)

    def library(version: str) -> None:
        """Install a version of a distribution; each computes another score."""
        package = folder / "scorer_of_tests"
        text = LIBRARY.replace("FACTOR", version)
        if (package / "__init__.py").is_file() and (package / "__init__.py").read_text() == text:
            return
        for old in folder.glob("*.dist-info"):
            shutil.rmtree(old)
        install(folder, "scorer_of_tests", version, {"scorer_of_tests/__init__.py": text})
        sys.modules.pop("scorer_of_tests", None)
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        importlib.invalidate_caches()
        importlib.import_module("scorer_of_tests")
        sys.dont_write_bytecode = before
        forget_distributions()

    yield Searches(spark, library)
    sys.modules.pop("scorer_of_tests", None)
    forget_distributions()


LIBRARY = """
from support.stubs import StubEstimator, StubModel
from pyspark.ml import Estimator
from pyspark.ml.param import Param, Params


class Scorer(Estimator):
    x = Param(Params._dummy(), "x", "any value")

    def _fit(self, dataset):
        model = StubModel()
        model._set(x=self.getOrDefault(self.x) * FACTOR)
        return model
"""

# Changes that affect no score, so that keys may be equal; and changes that may affect one.
HARMLESS: dict[str, dict[str, Any]] = {
    "other uids": {"again": 1},
    "parallelism": {"parallelism": 2},
    "a larger grid": {"grid": (1, 2, 4)},
    "another order of the grid": {"grid": (2, 1)},
    "cached data": {"cached": True},
    "a conf of the UI": {"conf": (("spark.sql.ui.explainMode", "simple"),)},
    "reuse_stages": {"options": (("reuse_stages", True),)},
    "parallel_folds": {"options": (("parallel_folds", True),)},
}
CHANGES: dict[str, dict[str, Any]] = {
    "seed": {"seed": 6, "fold_col": False},
    "number of folds": {"folds": 3},
    "random folds": {"fold_col": False},
    "order of rows": {"order": -1},
    "partitions": {"partitions": 1},
    "one value": {"changed": 0.3},
    "sign of zero": {"zero": -0.0},
    "metadata": {"metadata": "other"},
    "time zone": {"conf": (("spark.sql.session.timeZone", "Asia/Tokyo"),)},
    "shuffle partitions": {"conf": (("spark.sql.shuffle.partitions", "7"),)},
    "default parallelism": {"conf": (("spark.default.parallelism", "7"),)},
    "ANSI": {"conf": (("spark.sql.ansi.enabled", "false"),)},
    "metric": {"metric": "accuracy"},
    "factor of the evaluator": {"factor": 2.0},
    "attribute": {"state": 2.0},
    "code_version": {"code": "2"},
    "two loops": {"loops": 2},
    "version of a library": {"library": "2.0"},
    "another grid": {"grid": (3, 4)},
}
PARAMS = {
    "tree": ({"maxBins": 4}, {"minInstancesPerNode": 5}, {"impurity": "entropy"}),
    "forest": ({"subsamplingRate": 0.5}, {"featureSubsetStrategy": "all"}),
    "logistic": ({"elasticNetParam": 0.5}, {"fitIntercept": False}),
    "sql": ({"fitIntercept": False},),
}
SPECIAL: dict[str, tuple[str, dict[str, Any]]] = {
    "sums": ("training label of own folds", {"special": 2.0}),
    "warm": ("grid that is fitted as a whole", {"grid": (2, 1)}),
    "global": ("param of a component that only code reads", {"special": 2.0}),
    "converts": ("type converter", {"special": 2.0}),
    "calls": ("value that a function holds", {"special": 2.0}),
    "view": ("replaced view, with another code_version", {"special": 2.0, "code": "2"}),
}
OWN = ("own", "loops", "library", "sums", "warm", "global", "converts", "calls")
BUILT_IN = ("tree", "forest", "logistic")
# Searches of Spark's own components take four times as long as those of user code.
KINDS = (*OWN, *OWN, "own", "own", *BUILT_IN, "sql", "view")
OF_CONTEXT = ("spark.default.parallelism",)


def pairs(seed: int, count: int) -> Iterator[tuple[str, Spec, Spec]]:
    """Pairs of specs that differ in one named thing, mostly a harmless one."""
    rng = random.Random(seed)
    # Each change once, then random ones.
    certain: list[tuple[str, str | None]] = [
        *((kind, None) for kind in SPECIAL),
        *((rng.choice(KINDS), name) for name in CHANGES),
    ]
    for number in range(count):
        kind, name = certain[number] if number < len(certain) else (rng.choice(KINDS), "")
        base = Spec(kind=kind, fold_col=rng.random() < 0.7, partitions=rng.choice([1, 2]))
        if name:
            change = CHANGES[name]
        elif name is None or (kind in SPECIAL and rng.random() < 0.2):
            name, change = SPECIAL[kind]
        elif rng.random() < 0.75:
            name = rng.choice(list(HARMLESS))
            change = HARMLESS[name]
        elif kind in PARAMS and rng.random() < 0.3:
            name, change = "param", {"est": tuple(rng.choice(PARAMS[kind]).items())}
        else:
            name = rng.choice(list(CHANGES))
            change = CHANGES[name]
        yield f"{kind}: {name}", base, replace(base, **change)


def violations(searches: Searches, some: Any) -> tuple[list[str], int]:
    """The pairs with two scores of one key, and the number with a common key."""
    wrong, common = [], 0
    for name, one, other in some:
        found: dict[str, set[str]] = {}
        for key, score in itertools.chain(searches.scores(one), searches.scores(other)):
            found.setdefault(key, set()).add(score)
        if any(len(scores) > 1 for scores in found.values()):
            wrong.append(name)
        ours = {key for key, _ in searches.scores(one)}
        common += not ours.isdisjoint(key for key, _ in searches.scores(other))
    return wrong, common


# Takes 1,000 s beside the other parts of CI.
@pytest.mark.timeout(2400)
def test_equal_keys_have_equal_scores(searches):
    wrong, common = violations(searches, pairs(SEED, PAIRS))
    assert wrong == []
    assert common >= 100


def drop_conf(monkeypatch):
    monkeypatch.setattr(middleware, "relevant_conf", lambda session, with_layout: {})


def drop_partitions(monkeypatch):
    whole = data_fingerprint.fingerprint_folds
    monkeypatch.setattr(
        data_fingerprint,
        "fingerprint_folds",
        lambda *args, **named: [{**fold, "layout": ""} for fold in whole(*args, **named)],
    )


def drop_versions(monkeypatch):
    monkeypatch.setattr(
        "trackmllib.spark.middleware.score_reuse.fingerprint.library_of",
        lambda thing: (distributions.library_of(thing) or "").partition(" ")[0] or None,
    )


def ignore_code_version(monkeypatch):
    whole = keys.keys_for
    monkeypatch.setattr(
        keys, "keys_for", lambda *args, **named: whole(*args, **{**named, "code_version": "1"})
    )


def keep_keys_across_loops(monkeypatch):
    whole = middleware.ScoreReuse._loop_keys
    kept: dict[int, Any] = {}

    def first(self, call):
        return kept.setdefault(id(self), (self, whole(self, call)))[1]

    monkeypatch.setattr(middleware.ScoreReuse, "_loop_keys", first)


FOREST = Spec(kind="forest", grid=(4, 6), metric="logLoss")
WEAKENINGS = {
    "conf": (drop_conf, Spec(kind="sql", metric="logLoss"), CHANGES["time zone"]),
    "partitions": (drop_partitions, FOREST, CHANGES["partitions"]),
    "versions": (drop_versions, Spec(kind="library"), CHANGES["version of a library"]),
    "code_version": (ignore_code_version, Spec(), CHANGES["code_version"]),
    "loops": (keep_keys_across_loops, Spec(kind="loops"), CHANGES["two loops"]),
}


@pytest.mark.parametrize("what", WEAKENINGS)
def test_weakened_keys_are_detected(searches, monkeypatch, what):
    weaken, base, change = WEAKENINGS[what]
    pair = [(what, base, replace(base, **change))]
    assert violations(searches, pair)[0] == []
    searches._known.clear()
    weaken(monkeypatch)
    assert violations(searches, pair)[0] == [what]
