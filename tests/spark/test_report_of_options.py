"""Figures and sentences of the report on searches with options that share or move work.

Most fits sleep, so that the time of each thread is known.
"""

from __future__ import annotations

import time

import pytest
from pyspark.ml import Pipeline, feature
from pyspark.ml.classification import DecisionTreeClassifier
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import CrossValidator

import trackmllib
from support import random_searches
from support.html_page import HtmlPage
from support.resume_searches import rows_search, table
from support.searches import stub_search
from support.stubs import StubEstimator, StubEvaluator
from trackmllib.reporting.figures.context import NothingToDraw, SearchContext
from trackmllib.reporting.figures.cost import cost
from trackmllib.reporting.figures.timeline import timeline

pytestmark = pytest.mark.slow
SECONDS = 0.3


@pytest.fixture(scope="module")
def rows(spark):
    found = random_searches.rows(spark).cache()
    found.count()
    return found


@pytest.fixture
def page(tmp_path):
    """Return a function that returns the text of a search's report."""

    def text(model):
        path = tmp_path / "report.html"
        trackmllib.results(model).report(path)
        return HtmlPage(path.read_text(encoding="utf-8")).text

    return text


def context_of(model):
    return SearchContext(trackmllib.results(model).search)


def slow_evaluator(prediction):
    time.sleep(SECONDS)


def test_threads_are_busy_across_parallel_folds(recorded, spark, page):
    trackmllib.autolog(parallel_folds=True, progress=False)
    search = stub_search(est=StubEstimator(SECONDS), numFolds=4, parallelism=2)
    model = search.fit(spark.range(30))
    found = timeline(context_of(model))
    # Twelve fits, six in each of two threads.
    assert found.idle < 0.15
    assert dict(found.forecast)[2] == pytest.approx(6 * SECONDS, rel=0.25)
    assert dict(found.forecast)[1] == pytest.approx(12 * SECONDS, rel=0.25)
    assert dict(found.forecast)[4] == pytest.approx(3 * SECONDS, rel=0.5)
    assert len(cost(context_of(model)).points) == 3
    assert found.finding in page(model)


@pytest.mark.parametrize("options", [{"metrics": True}, {"metrics": True, "train_scores": True}])
def test_further_metrics_are_busy_time(recorded, spark, page, options):
    evaluator = StubEvaluator(call=slow_evaluator)
    evaluator.set(evaluator.metricName, "slow")
    trackmllib.autolog(**{**options, "metrics": [evaluator]}, progress=False)
    model = stub_search(est=StubEstimator(SECONDS), numFolds=2).fit(spark.range(30))
    found = timeline(context_of(model))
    assert found.threads == 1
    assert found.idle < 0.1
    assert all(gap.end - gap.start < SECONDS / 2 for gap in found.gaps)
    assert {bar.kind for bar in found.bars} == {"fit", "metrics"}
    each = SECONDS * (3 if "train_scores" in options else 2)
    assert dict(found.forecast)[1] == pytest.approx(6 * each, rel=0.2)
    # On each of two folds, two threads take two rounds for three candidates.
    assert dict(found.forecast)[2] == pytest.approx(4 * each, rel=0.2)
    assert found.finding in page(model)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_shared_stages_are_bars_of_their_thread(recorded, rows, page, parallelism):
    trackmllib.autolog(reuse_stages=True, progress=False)
    scaler = feature.StandardScaler(inputCol="raw", outputCol="features")
    tree = DecisionTreeClassifier()
    maps = [{tree.maxBins: bins} for bins in (4, 8, 16)]
    model = CrossValidator(
        estimator=Pipeline(stages=[scaler, tree]),
        estimatorParamMaps=maps,
        evaluator=MulticlassClassificationEvaluator(),
        numFolds=2,
        parallelism=parallelism,
    ).fit(rows)
    found = timeline(context_of(model))
    shared = [bar for bar in found.bars if bar.kind == "shared"]
    assert [bar.fold for bar in shared] == [0, 1]
    computed = sum(bar.end - bar.start for bar in shared)
    seconds = trackmllib.results(model).search.shared_seconds
    assert computed == pytest.approx(seconds, abs=0.01)
    if parallelism == 1:
        assert found.idle < 0.1
    else:
        # The other thread waits for the shared stages.
        assert found.idle * 2 * (found.bars[-1].end - found.bars[0].start) > 0.8 * computed
    # They are computed once per fold, however many threads there are.
    assert all(total > computed for _, total in found.forecast)
    with pytest.raises(NothingToDraw, match=r"3 candidates .* shared"):
        cost(context_of(model))
    assert found.finding in page(model)
    assert "3 candidates" in page(model)


def test_only_separate_fits_have_a_cost(recorded, rows, page):
    trackmllib.autolog(nested_fits=True, progress=False)
    tree = DecisionTreeClassifier(featuresCol="raw")
    alone = [{tree.impurity: "entropy", tree.maxBins: bins, tree.maxDepth: 2} for bins in (4, 8)]
    maps = [{tree.maxDepth: depth} for depth in (1, 3, 6)] + alone
    model = CrossValidator(
        estimator=tree,
        estimatorParamMaps=maps,
        evaluator=MulticlassClassificationEvaluator(),
        numFolds=2,
    ).fit(rows)
    found = context_of(model)
    drawn = cost(found)
    assert {point.candidate for point in drawn.points} == {3, 4}
    assert "3 candidates are not shown" in drawn.finding
    assert drawn.finding in page(model)
    bars = timeline(found).bars
    assert [bar.fold for bar in bars if bar.kind == "shared"] == [0, 1]
    assert timeline(found).idle < 0.25


def test_reused_scores_have_no_bars_and_no_cost(resuming, spark, page):
    data = table(spark)
    rows_search(xs=(1.0, 2.0), numFolds=2, est=StubEstimator(SECONDS)).fit(data)
    model = rows_search(xs=(1.0, 2.0, 3.0, 4.0), numFolds=2, est=StubEstimator(SECONDS)).fit(data)
    found = context_of(model)
    drawn = timeline(found)
    reused = {index for index, each in found.search.candidates.items() if each.reused}
    assert reused == {0, 1}
    assert {bar.candidate for bar in drawn.bars} == {2, 3}
    assert drawn.idle < 0.1
    assert {point.candidate for point in cost(found).points} == {2, 3}
    assert drawn.finding in page(model)
