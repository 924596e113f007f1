"""Third-party estimators and tuners, with their own ``_fit``, ``fitMultiple`` or loop."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from pyspark.ml import Estimator, Model, Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.ml.functions import predict_batch_udf, vector_to_array
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasFeaturesCol, HasLabelCol, HasPredictionCol, HasSeed
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder
from pyspark.sql.types import DoubleType

import trackmllib
from support.searches import regression_search


def untracked(search: Any, points: Any) -> Any:
    """Return the model of the same search without recording."""
    trackmllib.autolog(disable=True)
    model = search.fit(points)
    trackmllib.autolog()
    return model


def assert_equal_to_the_model(store: Any, children: Any, model: Any, metric: str) -> None:
    """Check recorded averages and deviations against the model and the recorded scores."""
    assert [c.data.metrics[f"avg_{metric}"] for c in children] == list(model.avgMetrics)
    assert [c.data.metrics[f"std_{metric}"] for c in children] == list(model.stdMetrics)
    table = [[score for _, score in store.history(c, metric)] for c in children]
    assert list(np.mean(np.transpose(table), axis=0)) == list(model.avgMetrics)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_xgboost(points, recorded, parallelism):
    """It creates its params at import; one holds objects, another all unknown arguments."""
    from xgboost.callback import LearningRateScheduler
    from xgboost.spark import SparkXGBClassifier

    est = SparkXGBClassifier(
        label_col="fold",
        n_estimators=2,
        num_workers=1,
        random_state=1,
        seed_per_iteration=True,
        callbacks=[LearningRateScheduler([0.9, 0.5])],
    )
    search = CrossValidator(
        estimator=est,
        estimatorParamMaps=ParamGridBuilder().addGrid(est.max_depth, [1, 3]).build(),
        evaluator=MulticlassClassificationEvaluator(labelCol="fold", metricName="logLoss"),
        numFolds=2,
        parallelism=parallelism,
        seed=1,
    )
    model = search.fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert [c.data.params for c in children] == [{"max_depth": "1"}, {"max_depth": "3"}]
    assert [c.info.run_name for c in children] == ["max_depth=1", "max_depth=3"]
    assert {c.info.status for c in children} == {"FINISHED"}
    assert_equal_to_the_model(recorded, children, model, "logLoss")
    for key in ("logLoss", "fit_seconds", "evaluate_seconds"):
        assert [[step for step, _ in recorded.history(c, key)] for c in children] == [[0, 1]] * 2
    assert children[0].data.metrics["avg_logLoss"] != children[1].data.metrics["avg_logLoss"]
    described = recorded.json(parent, "trackmllib/search.json")["estimator"]
    assert described["class"] == "xgboost.spark.estimator.SparkXGBClassifier"
    params = described["params"]
    assert set(params) == {param.name for param in est.extractParamMap()}
    assert (params["n_estimators"], params["missing"]) == (2, "nan")
    assert params["arbitrary_params_dict"] == {"seed_per_iteration": True}
    assert params["callbacks"] == ["<xgboost.callback.LearningRateScheduler object>"]
    assert list(untracked(search, points).avgMetrics) == list(model.avgMetrics)


class _NetParams(HasFeaturesCol, HasLabelCol, HasPredictionCol, HasSeed):
    steps = Param(Params._dummy(), "steps", "gradient steps", TypeConverters.toInt)
    rate = Param(Params._dummy(), "rate", "learning rate", TypeConverters.toFloat)

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(steps=20, rate=0.5, seed=3)


class Net(Estimator, _NetParams):
    """A typical torch wrapper: fits weights on the driver, without a JVM object."""

    def _fit(self, dataset):
        rows = dataset.select(self.getFeaturesCol(), self.getLabelCol()).collect()
        inputs = np.array([row[0].toArray() for row in rows])
        labels = np.array([row[1] for row in rows])
        weights = np.random.default_rng(self.getSeed()).normal(size=inputs.shape[1] + 1)
        inputs = np.column_stack([inputs, np.ones(len(inputs))])
        for _ in range(self.getOrDefault(self.steps)):
            off = 1 / (1 + np.exp(-inputs @ weights)) - labels
            weights = weights - self.getOrDefault(self.rate) * inputs.T @ off / len(rows)
        return self._copyValues(NetModel(weights))


class NetModel(Model, _NetParams):
    """Predicts in batches on Spark's workers."""

    def __init__(self, weights: Any = None) -> None:
        super().__init__()
        self.weights = weights

    def _transform(self, dataset):
        weights = self.weights

        def load():
            return lambda inputs: (inputs @ weights[:-1] + weights[-1] > 0).astype("float64")

        predict = predict_batch_udf(
            load, return_type=DoubleType(), batch_size=64, input_tensor_shapes=[[len(weights) - 1]]
        )
        predicted = predict(vector_to_array(dataset[self.getFeaturesCol()]))
        return dataset.withColumn(self.getPredictionCol(), predicted)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_estimator_without_a_jvm(points, recorded, parallelism):
    net = Net()
    net._set(labelCol="index")
    search = CrossValidator(
        estimator=Pipeline(stages=[StringIndexer(inputCol="label", outputCol="index"), net]),
        estimatorParamMaps=ParamGridBuilder()
        .addGrid(net.steps, [1, 40])
        .addGrid(net.rate, [2.0])
        .build(),
        evaluator=MulticlassClassificationEvaluator(labelCol="index", metricName="f1"),
        numFolds=2,
        parallelism=parallelism,
        seed=1,
    )
    model = search.fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert parent.info.run_name == "CrossValidator: Pipeline(StringIndexer, Net)"
    assert children[1].data.params == {"steps": "40", "rate": "2.0"}
    assert_equal_to_the_model(recorded, children, model, "f1")
    assert model.avgMetrics[0] != model.avgMetrics[1]
    (best,) = [c for c in children if c.data.tags.get("trackmllib.best") == "true"]
    assert best.data.metrics["avg_f1"] == max(model.avgMetrics)
    assert list(untracked(search, points).avgMetrics) == list(model.avgMetrics)


class LastFirst(LogisticRegression):
    """Fits the last candidate first, in the threads that iterate over the models.

    No fit ends before two have started, and one candidate takes long. ``fits`` has the start in
    milliseconds and the seconds of each fit, by fold and candidate.
    """

    def __init__(self) -> None:
        super().__init__(maxIter=1)
        self.order: list[list[int]] = []
        self.fits: dict[tuple[int, int], tuple[int, float]] = {}

    def fitMultiple(self, dataset, paramMaps):
        lock, both = threading.Lock(), threading.Barrier(2)
        left = list(range(len(paramMaps)))
        fold = len(self.order)
        self.order.append([])

        class Models:
            def __iter__(self):
                return self

            def __next__(inner):
                start_ms, start = time.time_ns() // 1_000_000, time.monotonic()
                with lock:
                    index = left.pop()
                    self.order[fold].append(index)
                both.wait(120)
                model = self.fit(dataset, paramMaps[index])
                if index == 2:
                    time.sleep(0.5)
                self.fits[fold, index] = start_ms, time.monotonic() - start
                return index, model

        return Models()


def test_fit_multiple_iterated_by_several_threads_at_once(points, recorded):
    est = LastFirst()
    search = CrossValidator(
        estimator=est,
        estimatorParamMaps=ParamGridBuilder().addGrid(est.regParam, [0.0, 0.1, 1.0, 9.0]).build(),
        evaluator=MulticlassClassificationEvaluator(metricName="logLoss"),
        numFolds=2,
        parallelism=2,
        seed=1,
    )
    began = time.monotonic()
    model = search.fit(points)
    took = time.monotonic() - began
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    assert est.order == [[3, 2, 1, 0], [3, 2, 1, 0]]
    assert [c.data.params["regParam"] for c in children] == ["0.0", "0.1", "1.0", "9.0"]
    assert_equal_to_the_model(recorded, children, model, "logLoss")
    for index, child in enumerate(children):
        starts_ms, seconds = zip(*(est.fits[fold, index] for fold in (0, 1)), strict=True)
        assert parent.info.start_time <= child.info.start_time <= starts_ms[0]
        assert starts_ms[1] <= child.info.end_time <= parent.info.end_time
        for (_, fit), (_, evaluate), own in zip(
            recorded.history(child, "fit_seconds"),
            recorded.history(child, "evaluate_seconds"),
            seconds,
            strict=True,
        ):
            assert own <= fit
            assert evaluate > 0
            assert fit + evaluate <= took
    assert list(untracked(search, points).avgMetrics) == list(model.avgMetrics)


class HoldOut(CrossValidator):
    """Runs its own loop over real models, without Spark's fits."""

    def _fit(self, dataset):
        est, eva = self.getEstimator(), self.getEvaluator()
        maps = self.getEstimatorParamMaps()
        train, test = dataset.where("fold = 0"), dataset.where("fold = 1")
        models = [est.fit(train, params) for params in maps]
        scores = [eva.evaluate(model.transform(test)) for model in models]
        return CrossValidatorModel(models[int(np.argmin(scores))], scores)


def test_own_loop_is_recorded_without_invented_values(points, recorded):
    model = regression_search(HoldOut).fit(points)
    parent = recorded.only_parent_run()
    children = recorded.children(parent)
    # Only the average is known, from the model: no deviations, scores or seconds.
    assert [c.data.metrics for c in children] == [{"avg_logLoss": a} for a in model.avgMetrics]
    assert [c.data.params for c in children] == [{"regParam": r} for r in ("0.0", "0.1", "1.0")]
    assert {c.data.tags["trackmllib.times"] for c in children} == {"search"}
    assert {c.info.start_time for c in children} == {parent.info.start_time}
    assert {c.info.end_time for c in children} == {parent.info.end_time}
    costs = {name for name in parent.data.metrics if name.startswith("spark.")}
    assert set(parent.data.metrics) - costs == {"best_avg_logLoss"}
    # Its jobs are observed, although its fits are not.
    assert parent.data.metrics["spark.numJobs"] > 0
    for row, average in zip(recorded.results(parent), model.avgMetrics, strict=True):
        known = {key for key, value in row.items() if value}
        assert known == {"candidate", "params.regParam", "status", "average", "rank"}
        assert row["average"] == repr(float(average))
