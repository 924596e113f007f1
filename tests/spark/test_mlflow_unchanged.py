"""MLflow's autologging records everything but searches as without trackmllib."""

from __future__ import annotations

import mlflow
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import VectorSlicer
from pyspark.ml.tuning import TrainValidationSplit

import trackmllib
from support.mlflow_reader import Store
from support.searches import regression_search

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


def test_other_estimators_are_recorded_as_without_trackmllib(points, store, mlflow_autolog):
    """Fits, pipelines and post-training metrics, also after the evaluation of a search."""
    mlflow_autolog(log_datasets=True)
    without = fit_and_evaluate(points, Store(store.uri, f"{store.experiment}-without"))
    trackmllib.autolog()
    beside = fit_and_evaluate(points, Store(store.uri, f"{store.experiment}-beside"))
    assert beside == without
    regression, pipeline, both = beside
    assert list(regression["metrics"]) == ["accuracy-2_holdout", "accuracy_holdout"]
    assert {"eval", "train"} == set(regression["inputs"])
    assert list(pipeline["metrics"]) == ["f1_unknown_dataset"]
    assert "metric_info.json" in both["artifacts"]


def fit_and_evaluate(points, store):
    """Record all that MLflow records of this; the record without times and ids."""
    mlflow.set_experiment(store.experiment)
    holdout = points.select("*")
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy")
    model = LogisticRegression(maxIter=2).fit(points)
    accuracy.evaluate(model.transform(holdout))
    search = regression_search(TrainValidationSplit).fit(points)
    accuracy.evaluate(search.transform(holdout))
    accuracy.evaluate(model.transform(holdout))
    stages = [VectorSlicer(inputCol="features", outputCol="x", indices=[0])]
    stages.append(LogisticRegression(maxIter=1, featuresCol="x"))
    fitted = Pipeline(stages=stages).fit(points)
    MulticlassClassificationEvaluator().evaluate(fitted.transform(points.limit(50)))
    with mlflow.start_run():
        for iterations in (1, 1):
            model = LogisticRegression(maxIter=iterations).fit(points)
            accuracy.evaluate(model.transform(holdout))
    assert mlflow.active_run() is None
    assert trackmllib.flush(30)
    return [
        {
            "params": run.data.params,
            "metrics": dict(sorted(run.data.metrics.items())),
            "tags": {
                key: value
                for key, value in run.data.tags.items()
                if key not in ("mlflow.runName", "mlflow.user")
            },
            "status": run.info.status,
            "artifacts": store.files(run, ""),
            "inputs": sorted(each.tags[0].value for each in run.inputs.dataset_inputs),
        }
        for run in store.parent_runs()
        if "CrossValidator" not in str(run.data) and "TrainValidationSplit" not in str(run.data)
    ]
