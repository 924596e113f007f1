"""``resume``: changes of the search, its code and its configuration."""

from __future__ import annotations

import pytest
from py4j.protocol import Py4JError
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.param import Params
from pyspark.sql import functions

import trackmllib
from support.resume_searches import (
    RowsEvaluator,
    fit,
    pipeline_search,
    rows_search,
    table,
    untracked,
)
from support.stubs import StubEstimator

pytestmark = [pytest.mark.versions, pytest.mark.slow]


class OtherCode(StubEstimator):
    def _fit(self, dataset):
        return super()._fit(dataset)


def renamed(data):
    return data.withColumnRenamed("label", "target").withColumn("label", functions.col("target"))


CHANGES = {
    "one value of one row": lambda spark: (rows_search(), table(spark, changed=40)),
    "one row more": lambda spark: (rows_search(), table(spark, more=1)),
    "another column name": lambda spark: (
        rows_search(),
        table(spark).withColumnRenamed("b", "c"),
    ),
    "another seed": lambda spark: (rows_search(seed=6), table(spark)),
    "another metric": lambda spark: (
        rows_search(eva=RowsEvaluator(metricName="others")),
        table(spark),
    ),
    "another param of the evaluator": lambda spark: (
        rows_search(eva=RowsEvaluator(factor=2.0)),
        table(spark),
    ),
    "another param of the estimator": lambda spark: (
        rows_search(est=StubEstimator(fitSeconds=0.001)),
        table(spark),
    ),
    "another number of folds": lambda spark: (rows_search(numFolds=4), table(spark)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_changed_search_prevents_reuse(resuming, spark, rows, what):
    fit(rows_search(), rows)
    tuner, data = CHANGES[what](spark)
    _, reused = fit(tuner, data)
    assert reused == [0, 0, 0]


def test_newer_spark_prevents_reuse(resuming, rows, monkeypatch):
    fit(rows_search(), rows)
    session = rows.sparkSession
    if isinstance(vars(type(session))["version"], property):
        monkeypatch.setattr(type(session), "version", "99.0.0")
    else:
        # Spark 4 stores the version at the first access.
        monkeypatch.setitem(vars(session), "version", "99.0.0")
    _, reused = fit(rows_search(), rows)
    assert reused == [0, 0, 0]


def test_search_of_another_estimator_prevents_reuse(resuming, rows):
    fit(rows_search(), rows)
    _, reused = fit(rows_search(est=OtherCode()), rows)
    assert reused == [0, 0, 0]


def test_collect_sub_models_prevents_reuse(resuming, rows, logged_warnings):
    fit(rows_search(), rows)
    _, reused = fit(rows_search(collectSubModels=True), rows)
    assert reused == [0, 0, 0]
    (sentence,) = logged_warnings()
    assert "collectSubModels: it requires models; only scores are recorded" in sentence


def test_incomparable_attribute_is_named(resuming, rows, logged_warnings):
    est = StubEstimator()
    est.connection = (each for each in ())
    _, reused = fit(rows_search(est=est), rows)
    assert reused == [0, 0, 0]
    (sentence,) = logged_warnings()
    assert "the attribute connection of StubEstimator" in sentence


def test_unset_seed_prevents_reuse_without_recorded_seeds(
    resuming, rows, logged_warnings, monkeypatch
):
    """Spark's default is a hash of a class name, which differs in each process."""

    def tuner_of_process(number):
        tuner = rows_search()
        tuner.clear(tuner.seed)
        tuner._setDefault(seed=number)
        return tuner

    fit(tuner_of_process(11), rows)
    _, reused = fit(tuner_of_process(12), rows)
    assert reused == [0, 0, 0]
    (sentence,) = logged_warnings()
    assert "no seed is set on CrossValidator" in sentence
    assert 'autolog(resume="seed")' in sentence
    trackmllib.autolog(resume="seed", code_version="1", progress=False)
    tuner = tuner_of_process(13)
    _, reused = fit(tuner, rows)
    assert reused == [3, 3, 3]
    assert tuner.getSeed() == 13


def test_keys_do_not_depend_on_uids(spark):
    from pyspark.ml.param import Param

    from trackmllib.spark.middleware.score_reuse.fingerprint import Fingerprints, digest

    def key(tuner, at=0):
        maps = tuner.getEstimatorParamMaps()
        return digest(Fingerprints().component(tuner.getEstimator(), maps[at]))

    assert key(pipeline_search()) == key(pipeline_search())
    assert key(pipeline_search([0.1, 0.2]), 1) == key(pipeline_search([0.2, 0.1]), 0)
    assert len({key(pipeline_search([0.1, 0.2, 0.3]), at) for at in range(3)}) == 3
    assert isinstance(StubEstimator.x, Param)
    assert issubclass(StubEstimator, Params)


def test_fitted_model_as_a_stage_is_not_comparable(resuming, rows, logged_warnings):
    """No param tells which data it was fitted on."""
    tuner = pipeline_search()
    assembled, scaler, last = tuner.getEstimator().getStages()
    scaled = scaler.fit(assembled.transform(rows))
    tuner.getEstimator().setStages([assembled, scaled, last])
    fit(tuner, rows)
    (sentence,) = logged_warnings()
    assert "its params do not say what the model was fitted on" in sentence


def test_float32_scores_are_not_reused(resuming, rows):
    """numpy averages float32 in that precision."""
    import numpy as np

    class Half(RowsEvaluator):
        def _evaluate(self, prediction):
            return np.float32(super()._evaluate(prediction))

    fit(rows_search(eva=Half()), rows)
    _, reused = fit(rows_search(eva=Half()), rows)
    assert reused == [0, 0, 0]


def test_own_code_needs_a_code_version(resuming, rows, logged_warnings):
    trackmllib.autolog(resume=True, progress=False)
    for _ in range(2):
        _, reused = fit(rows_search(), rows)
        assert reused == [0, 0, 0]
    assert len(logged_warnings()) == 2
    for sentence in logged_warnings():
        assert sentence.startswith(
            "resume is off for this search, so Spark computes its remaining fits: "
            "the class StubEstimator: "
        )
        assert 'autolog(code_version="1")' in sentence


@pytest.mark.parametrize(("search", "fits"), [(rows_search, [0, 0, 0]), (pipeline_search, [0, 0])])
def test_changed_code_version_prevents_reuse(resuming, rows, logged_warnings, search, fits):
    """Even if all code is Spark's."""
    fit(search(), rows)
    trackmllib.autolog(resume=True, code_version="2", progress=False)
    _, reused = fit(search(), rows)
    assert reused == fits
    (sentence,) = logged_warnings()
    assert sentence == (
        "resume reuses no score, so Spark computes all fits: "
        "the most similar recorded search differs in code_version."
    )


OUTSIDE_COMPONENT = StubEstimator()


class ReadsGlobal(StubEstimator):
    """Reads a param of a component outside itself."""

    def fit(self, dataset, params=None):
        return super().fit(dataset, {self.x: (params or {}).get(OUTSIDE_COMPONENT.y, 1.0)})


def test_param_of_an_outside_component_counts(resuming, rows):
    def search():
        tuner = rows_search((1.0,), est=ReadsGlobal())
        return tuner.setEstimatorParamMaps([{OUTSIDE_COMPONENT.y: 5.0}, {}])

    stock = untracked(search(), rows)
    assert stock[0] != stock[1]
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    before, _ = fit(search(), rows)
    again, reused = fit(search(), rows)
    assert before == again == stock
    assert reused == [3, 3]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("spark.sql.session.timeZone", ("UTC", "Asia/Tokyo")),
        ("spark.sql.shuffle.partitions", ("2", "3")),
        ("spark.sql.ansi.enabled", ("true", "false")),
    ],
)
def test_sql_conf_counts(resuming, spark, rows, logged_warnings, key, values):
    before = spark.conf.get(key)
    try:
        for value in values:
            spark.conf.set(key, value)
            _, reused = fit(rows_search(), rows)
            assert reused == [0, 0, 0]
        _, reused = fit(rows_search(), rows)
        assert reused == [3, 3, 3]
    finally:
        spark.conf.set(key, before)
    (sentence,) = logged_warnings()
    assert sentence.endswith("in the Spark SQL conf, default parallelism, Java or architecture.")


def test_default_parallelism_counts_without_data_version(resuming, spark, rows, logged_warnings):
    def fitted(parallelism):
        of_context.set("spark.default.parallelism", parallelism)
        return fit(rows_search(), rows)[1]

    of_context = spark.sparkContext._jsc.sc().conf()
    before = of_context.get("spark.default.parallelism", "2")
    try:
        assert [fitted(each) for each in "177"] == [[0, 0, 0], [0, 0, 0], [3, 3, 3]]
        trackmllib.autolog(resume=True, code_version="1", data_version="1", progress=False)
        assert [fitted(each) for each in "17"] == [[0, 0, 0], [3, 3, 3]]
    finally:
        of_context.set("spark.default.parallelism", before)
    assert logged_warnings()[0].endswith(
        "in the Spark SQL conf, default parallelism, Java or architecture."
    )


def test_candidates_that_differ_only_in_code_prevent_reuse(resuming, rows, logged_warnings):
    def search():
        return rows_search((lambda: 1, lambda: 2), est=Calls())

    for _ in range(2):
        _, reused = fit(search(), rows)
        assert reused == [0, 0]
    assert "the grid: trackmllib cannot tell some candidates apart" in logged_warnings()[0]


class Calls(StubEstimator):
    """Estimator whose ``x`` is a function."""

    def _fit(self, dataset):
        return super().copy({self.x: self.getOrDefault(self.x)()})._fitted(dataset)

    def _fitted(self, dataset):
        return StubEstimator._fit(self, dataset)


def test_conf_without_effect_does_not_count(resuming, spark, rows):
    fit(rows_search(), rows)
    spark.conf.set("spark.sql.ui.explainMode", "simple")
    try:
        _, reused = fit(rows_search(), rows)
    finally:
        spark.conf.unset("spark.sql.ui.explainMode")
    assert reused == [3, 3, 3]


class ReadsView(SQLTransformer):
    """Reads a temporary view, which may be replaced."""


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (SQLTransformer, "a SQLTransformer (its statement may read any table)"),
        (ReadsView, "the class ReadsView"),
    ],
)
def test_sql_transformer_needs_a_code_version(resuming, rows, logged_warnings, kind, named):
    def search():
        tuner = pipeline_search()
        statement = kind(statement="SELECT * FROM __THIS__")
        stages = [statement, *tuner.getEstimator().getStages()]
        tuner.getEstimator().setStages(stages)
        return tuner

    trackmllib.autolog(resume=True, progress=False)
    fit(search(), rows)
    (sentence,) = logged_warnings()
    assert named in sentence
    trackmllib.autolog(resume=True, code_version="1", progress=False)
    fit(search(), rows)
    _, reused = fit(search(), rows)
    assert reused == [2, 2]


def test_foreign_java_class_needs_a_code_version(resuming, spark, rows, logged_warnings):
    trackmllib.autolog(resume=True, progress=False)
    tuner = pipeline_search()
    last = tuner.getEstimator().getStages()[-1]
    last._java_obj = spark._jvm.java.util.ArrayList()
    with pytest.raises(Py4JError):
        tuner.fit(rows)
    assert any("the Java class java.util.ArrayList" in sentence for sentence in logged_warnings())


def test_uid_in_a_column_name_does_not_count(resuming, rows):
    def search():
        tuner = pipeline_search()
        last = tuner.getEstimator().getStages()[-1]
        last.setPredictionCol(f"{last.uid}__prediction")
        tuner.getEvaluator().setPredictionCol(last.getPredictionCol())
        return tuner

    fit(search(), rows)
    _, reused = fit(search(), rows)
    assert reused == [2, 2]


def test_explain_uses_the_code_version(resuming):
    tuner = rows_search(seed=5)
    assert trackmllib.explain(tuner).resume == "scores can be reused."
    trackmllib.autolog(resume=True, progress=False)
    assert 'autolog(code_version="1")' in trackmllib.explain(tuner).resume
