"""``explain()``: which stages are shared, and why others are not."""

from __future__ import annotations

import pytest
from pyspark.ml import Estimator, Pipeline, feature
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

import trackmllib
from support.searches import regression_search
from support.stage_searches import scaled_search
from support.stubs import StubEvaluator

pytestmark = [pytest.mark.usefixtures("nothing_stays_cached"), pytest.mark.versions]


def test_explain_gives_reasons_and_runs_no_job(data, jobs_run):
    words = feature.Tokenizer(inputCol="text", outputCol="words")
    counts = feature.CountVectorizer(inputCol="words", outputCol="counts")
    idf = feature.IDF(inputCol="counts", outputCol="features")
    last = LogisticRegression()
    grid = ParamGridBuilder().addGrid(last.regParam, [0.0, 0.1, 1.0]).build()
    tuner = CrossValidator(
        estimator=Pipeline(stages=[words, counts, idf, last]),
        estimatorParamMaps=grid,
        evaluator=StubEvaluator(),
    )
    found = trackmllib.explain(tuner)
    assert [(s.stage, s.computed, s.instead_of) for s in found.stages] == [
        ("Tokenizer", 1, 3),
        ("CountVectorizer", 3, 3),
        ("IDF", 3, 3),
        ("LogisticRegression", 3, 3),
    ]
    assert found.stages[0].shared_by == ((0, 1, 2),)
    assert str(found).splitlines() == [
        "reuse_stages on a CrossValidator of 3 candidates and 3 folds",
        "",
        "   stage               computed per fold        why not once",
        "0  Tokenizer           once instead of 3 times",
        "1  CountVectorizer     3 times                  the order of equally frequent words "
        "depends on the order in which Spark's tasks end",
        "2  IDF                 3 times                  its input is not shared, because "
        "CountVectorizer is not",
        "3  LogisticRegression  3 times                  the last fitted stage is never shared",
        "",
        "Each fold computes 10 stages instead of 12.",
        "",
        "nested_fits on a Pipeline: no candidate's model contains that of another.",
        "",
        "resume: no score can be reused, because of the class StubEvaluator: trackmllib cannot "
        "tell whether your own code has changed since an earlier search; set "
        'autolog(code_version="1"), and change the version whenever you change the code.',
        "",
        "Options on: none; autolog(accelerate=True) turns them on.",
    ]
    parted = trackmllib.explain(scaled_search(stub=False))
    assert [(s.stage, s.computed, s.reason) for s in parted.stages] == [
        ("StandardScaler", 1, ""),
        ("IDF", 2, "it differs between candidates"),
        ("LinearRegression", 4, "the last fitted stage is never shared"),
    ]
    search = scaled_search(values=(0.1,), stub=False)
    _, idf, _ = search.getEstimator().getStages()
    found = trackmllib.explain(search.setEstimatorParamMaps([{}, {idf.minDocFreq: 0}]))
    assert found.stages[1].reason == (
        "it has a param that only some candidates set, although to the same value"
    )
    assert "is a LogisticRegression, not a Pipeline." in str(
        trackmllib.explain(regression_search())
    )
    with pytest.raises(ValueError, match="no estimator or no estimatorParamMaps"):
        trackmllib.explain(CrossValidator())
    with pytest.raises(TypeError, match="explain\\(\\) takes a CrossValidator"):
        trackmllib.explain(Estimator)
    assert jobs_run() == 0


@pytest.fixture
def jobs_run(spark):
    scheduler = spark.sparkContext._jsc.sc().dagScheduler()
    first = scheduler.numTotalJobs()
    return lambda: scheduler.numTotalJobs() - first


class OwnScaler(feature.StandardScaler):
    """A subclass, which trackmllib does not know to be deterministic."""


@pytest.mark.parametrize(
    ("kind", "params", "reason"),
    [
        (OwnScaler, {"inputCol": "raw"}, "it is not known to be deterministic"),
        (
            feature.SQLTransformer,
            {"statement": "SELECT * FROM __THIS__"},
            "its SQL statement may not be",
        ),
        (
            feature.Imputer,
            {"strategy": "median", "inputCol": "a"},
            "its approximation of quantiles",
        ),
        (feature.RobustScaler, {"inputCol": "raw"}, "its approximation of quantiles"),
        (feature.Word2Vec, {"inputCol": "text"}, "equally frequent words"),
        (feature.Imputer, {"inputCol": "a"}, None),
        (feature.MinHashLSH, {"inputCol": "raw"}, None),
    ],
)
def test_only_deterministic_stages_are_shared(spark, kind, params, reason):
    search = scaled_search(stub=False)
    stage = kind(**params)
    search.getEstimator().setStages([stage, *search.getEstimator().getStages()])
    found = trackmllib.explain(search).stages
    if reason is None:
        assert (found[0].computed, found[0].reason) == (1, "")
    else:
        assert (found[0].computed, found[1].computed) == (4, 4)
        assert reason in found[0].reason
        assert found[1].reason == f"its input is not shared, because {kind.__name__} is not"
