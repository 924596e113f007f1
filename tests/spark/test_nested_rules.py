"""Rules of ``nested_fits``: derived models equal separate fits, to the last bit."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.ml.linalg import Vectors
from pyspark.ml.regression import DecisionTreeRegressor, RandomForestRegressor

from support.model_state import state
from support.nested_grids import NAMES, TREES, NestedGrid, nested_grid
from trackmllib.spark.middleware.nested_fits.base import NotDerivable
from trackmllib.spark.middleware.nested_fits.plan import NestedPlan
from trackmllib.spark.middleware.stage_sharing.plan import plan_without_segments

pytestmark = [pytest.mark.versions, pytest.mark.slow, pytest.mark.timeout(7200)]

ROUNDS = int(os.environ.get("TRACKMLLIB_ROUNDS", "3"))
HUNT_SECONDS = float(os.environ.get("TRACKMLLIB_HUNT_SECONDS", "20"))


@pytest.fixture(scope="module")
def checkpoints(spark, tmp_path_factory):
    spark.sparkContext.setCheckpointDir(str(tmp_path_factory.mktemp("checkpoints")))


@pytest.fixture(scope="module", autouse=True)
def no_rdds_for_other_tests(spark):
    """Unpersist what Spark's own fits leave cached, for example the ids of tree nodes."""
    yield
    for rdd in spark.sparkContext._jsc.getPersistentRDDs().values():
        rdd.unpersist()


def outcome(fit, data):
    """State of a model and of its output, or Spark's error."""
    try:
        return state(fit(), data)
    except NotDerivable:
        raise
    except Exception as error:  # noqa: BLE001 - Spark's, and expected of both
        # Without the ids of Java objects.
        return type(error).__name__, re.sub(r"\bo\d+\b", "", str(error).partition("\n")[0])


def compare(spark, name, seed) -> Counter:
    """Compare the models of each group with separate fits; return how many were compared."""
    return compare_grid(nested_grid(spark, name, seed), (name, seed))


def compare_grid(grid, where) -> Counter:
    counts = Counter()
    try:
        plan = NestedPlan(plan_without_segments(grid.estimator, grid.maps), lambda rule: None)
        for group in plan.groups:
            estimators = {each: grid.estimator.copy(grid.maps[each]) for each in group.candidates}
            try:
                largest = grid.estimator.copy(grid.maps[group.largest])
                large = group.rule.estimator_to_fit(largest).fit(grid.data)
            except Exception:  # noqa: BLE001 - candidates are then fitted separately
                counts["failed"] += 1
                continue
            for candidate, estimator in estimators.items():
                fit = partial(grid.estimator.fit, grid.data, grid.maps[candidate])
                derive = partial(group.rule.derive, large, estimator, grid.data)
                separate = outcome(fit, grid.data)
                try:
                    derived = outcome(derive, grid.data)
                except NotDerivable:
                    counts["not derivable"] += 1
                    continue
                assert derived == separate, (where, grid.maps[candidate])
                counts["equal"] += 1
    finally:
        grid.data.unpersist()
    return counts


@pytest.mark.parametrize("name", NAMES)
def test_derived_models_equal_separate_fits(spark, checkpoints, name):
    counts = Counter()
    for seed in range(ROUNDS):
        counts += compare(spark, name, seed)
    print(name, dict(counts))
    assert counts["equal"] >= ROUNDS


@pytest.mark.parametrize("forest", [False, True])
@pytest.mark.parametrize(
    ("rows", "label", "depths"), [((1, 5), 0.1, (0, 3)), ((11, 2, 2), 123.4, (1, 3))]
)
def test_merged_root_hides_a_split(spark, rows, label, depths, forest):
    """Rounding lets Spark split a root whose labels are all equal, and then merge it."""
    data = spark.createDataFrame(
        [(Vectors.dense(float(at)), label) for at, many in enumerate(rows) for _ in range(many)],
        ["features", "label"],
    ).coalesce(1)
    tree = RandomForestRegressor(numTrees=1, bootstrap=False) if forest else DecisionTreeRegressor()
    grid = NestedGrid(tree, [{tree.maxDepth: depth} for depth in depths], data.cache())
    assert compare_grid(grid, "merged root")["not derivable"] == 1


def test_no_counterexample_is_found(spark, checkpoints):
    deadline = time.monotonic() + HUNT_SECONDS
    counts = Counter()

    @settings(
        max_examples=100_000 if HUNT_SECONDS > 60 else 10,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(name=st.sampled_from(TREES), seed=st.integers(1000, 10**9))
    def hunt(name, seed):
        if time.monotonic() < deadline:
            counts.update(compare(spark, name, seed))

    hunt()
    assert counts["equal"] > 0
