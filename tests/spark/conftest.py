"""Fixtures of the tests on real Spark."""

from __future__ import annotations

import logging
import warnings

import mlflow.pyspark.ml
import pyspark
import pytest
from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS
from pyspark.ml import feature

import trackmllib
from support import random_searches
from support.resume_searches import table
from support.stage_searches import scaled_search
from support.waiting import wait_until

LEAVES_A_FOLD = tuple(map(int, pyspark.__version__.split(".")[:2])) < (4, 1)


@pytest.fixture
def logged_warnings(caplog):
    """Return a function that returns the warnings logged so far."""
    caplog.set_level(logging.WARNING, "trackmllib")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "trackmllib"]


@pytest.fixture
def user_warnings(recorded, lenient, logged_warnings):
    """``logged_warnings``, with recording on as for users."""
    trackmllib.autolog()
    return logged_warnings


@pytest.fixture
def nothing_stays_cached(spark):
    """Check that Spark caches nothing after the test, neither computed nor planned.

    Before 4.1, Spark's own loop leaves the two parts of a fold there when it fails.
    """
    cached = spark._jsparkSession.sharedState().cacheManager()
    cached.clearCache()
    yield
    if LEAVES_A_FOLD:
        wait_until(lambda: spark.sparkContext._jsc.getPersistentRDDs().size() <= 2)
        cached.clearCache()
    wait_until(cached.isEmpty)
    wait_until(lambda: spark.sparkContext._jsc.getPersistentRDDs().size() == 0)


@pytest.fixture
def resuming(recorded):
    """``recorded``, with ``resume=True``."""
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    return recorded


@pytest.fixture
def mlflow_autolog():
    """Return a function that turns on MLflow's autologging."""

    def switch_on(**options):
        with warnings.catch_warnings():
            # MLflow warns of untested versions of pyspark.
            warnings.simplefilter("ignore")
            mlflow.pyspark.ml.autolog(**{"log_models": False, "log_datasets": False, **options})

    before = AUTOLOGGING_INTEGRATIONS.get("pyspark.ml")
    before = None if before is None else dict(before)
    yield switch_on
    mlflow.pyspark.ml.autolog(disable=True)
    # Restore the state before any call of MLflow's autolog().
    AUTOLOGGING_INTEGRATIONS.pop("pyspark.ml")
    if before is not None:
        AUTOLOGGING_INTEGRATIONS["pyspark.ml"] = before


@pytest.fixture(scope="module")
def rows(spark):
    """``table()``, cached."""
    data = table(spark).cache()
    yield data
    data.unpersist(blocking=True)


@pytest.fixture(scope="module")
def data(spark):
    """The rows of random searches."""
    return random_searches.rows(spark)


@pytest.fixture(scope="module")
def stock(data):
    """The averages of ``scaled_search()`` on stock Spark."""
    return scaled_search().fit(data).avgMetrics


@pytest.fixture
def fits(monkeypatch):
    """Class names of the fitted stages, one entry per fit."""
    fitted: list[str] = []
    for kind in (feature.StandardScaler, feature.IDF):
        fit = kind._fit

        def counting(self, dataset, fit=fit):
            fitted.append(type(self).__name__)
            return fit(self, dataset)

        monkeypatch.setattr(kind, "_fit", counting)
    return fitted
