"""Java's LAPACK, whose first calls must not be concurrent."""

from __future__ import annotations

import pytest
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

import trackmllib
from support.searches import stub_search
from support.stubs import StubEstimator
from trackmllib.spark.middleware.lapack import initialize_lapack

# Each has a field ``first``.
CLASSES = ("Dlamch", "Dlamc1", "Dlamc2")
PRECISION = 2.0**-53


class Watching(StubEstimator):
    """Adds to ``seen`` at the start of each fit whether LAPACK is still uninitialized."""

    def __init__(self, is_uninitialized):
        super().__init__()
        self.is_uninitialized = is_uninitialized
        self.seen = []

    def _fit(self, dataset):
        self.seen.append(self.is_uninitialized())
        return super()._fit(dataset)


@pytest.fixture
def dlamch(spark):
    """LAPACK's function of the machine's precision, which its first call measures."""
    return spark._jvm.org.netlib.lapack.Dlamch.dlamch


@pytest.fixture
def uninitialized(spark, dlamch):
    """Make LAPACK's next call the first one; the value tells whether it is still to come."""
    find = spark._jvm.java.lang.Class.forName
    flags = [find(f"org.netlib.lapack.{name}").getField("first") for name in CLASSES]
    for first in flags:
        first.setBoolean(None, True)
    yield lambda: any(first.getBoolean(None) for first in flags)
    assert dlamch("E") == PRECISION


@pytest.mark.versions
@pytest.mark.parametrize("kind", [CrossValidator, TrainValidationSplit])
@pytest.mark.parametrize(
    "options",
    [
        {"reuse_stages": True, "parallel_folds": True},
        {"accelerate": True},
        {"on_error": "skip"},
        {"candidate_timeout": 60},
        {"resume": True, "code_version": "1"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_initialize_lapack_before_the_first_fit(
    recorded, points, dlamch, uninitialized, kind, options
):
    trackmllib.autolog(progress=False, **options)
    estimator = Watching(uninitialized)
    stub_search(kind, est=estimator, parallelism=2).fit(points)
    assert len(estimator.seen) > 3
    assert not any(estimator.seen)
    assert dlamch("E") == PRECISION


def test_recording_alone_does_not_initialize_lapack(recorded, points, uninitialized):
    estimator = Watching(uninitialized)
    trackmllib.autolog(progress=False)
    stub_search(est=estimator, parallelism=2).fit(points)
    assert all(estimator.seen)


def test_data_without_a_jvm_is_no_error():
    assert initialize_lapack(object()) is None
