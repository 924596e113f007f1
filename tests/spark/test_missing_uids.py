"""Components without a uid, because their ``__init__`` does not call that of Params."""

from __future__ import annotations

import pytest
from pyspark.ml import Estimator, Model, Pipeline
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.param import Param, Params
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit

import trackmllib
from support.stubs import StubEstimator


class BareModel(Model):
    def __init__(self, x):
        self.x = x

    def copy(self, extra=None):
        return self

    def _transform(self, dataset):
        return (self.x, dataset)


class BareEstimator(Estimator):
    x = Param(Params._dummy(), "x", "any value")

    def __init__(self, x=0.0):
        self.value = x

    def copy(self, extra=None):
        return type(self)((extra or {}).get(BareEstimator.x, self.value))

    def _fit(self, dataset):
        return BareModel(self.value)


class BareEvaluator(Evaluator):
    def __init__(self, factor=1.0):
        self.factor = factor

    def _evaluate(self, prediction):
        x = prediction[0] if isinstance(prediction, tuple) else prediction.x
        return self.factor * x


def bare_search(kind=CrossValidator, factor=1.0, bare=True, **params):
    est = BareEstimator() if bare else StubEstimator()
    return kind(
        estimator=est,
        estimatorParamMaps=[{est.x: x} for x in (1.0, 3.0, 2.0)],
        evaluator=BareEvaluator(factor),
        seed=5,
        **({"numFolds": 2} if kind is CrossValidator else {}),
        **params,
    )


@pytest.mark.parametrize("kind", [CrossValidator, TrainValidationSplit])
@pytest.mark.parametrize("bare", [True, False])
def test_search_without_uids_is_recorded(points, recorded, kind, bare):
    model = bare_search(kind, bare=bare).fit(points)
    parent = recorded.only_parent_run()
    assert parent.info.status == "FINISHED"
    assert [run.data.params["x"] for run in recorded.children(parent)] == ["1.0", "3.0", "2.0"]
    search = recorded.json(parent, "trackmllib/search.json")
    assert search["evaluator"]["class"].endswith(".BareEvaluator")
    key, scores = "BareEvaluator", getattr(model, "validationMetrics", None)
    if scores is None:
        key, scores = "avg_BareEvaluator", model.avgMetrics
    assert [run.data.metrics[key] for run in recorded.children(parent)] == scores


def test_stage_without_uid_is_recorded(points, recorded):
    pipeline = Pipeline(
        stages=[SQLTransformer(statement="SELECT * FROM __THIS__"), BareEstimator()]
    )
    TrainValidationSplit(
        estimator=pipeline,
        estimatorParamMaps=[{BareEstimator.x: 1.0}, {BareEstimator.x: 2.0}],
        evaluator=BareEvaluator(),
    ).fit(points)
    parent = recorded.only_parent_run()
    assert [run.data.params["x"] for run in recorded.children(parent)] == ["1.0", "2.0"]
    search = recorded.json(parent, "trackmllib/search.json")
    assert [stage["class"].rpartition(".")[2] for stage in search["estimator"]["stages"]] == [
        "SQLTransformer",
        "BareEstimator",
    ]


@pytest.mark.slow
def test_equal_scores_without_uids_are_reused(points, recorded, user_warnings):
    trackmllib.autolog(resume=True, code_version="1", progress=False)

    def reused(search):
        found = trackmllib.results(search.fit(points)).search.candidates
        return [found[index].reused for index in sorted(found)]

    assert reused(bare_search()) == [0, 0, 0]
    assert reused(bare_search()) == [2, 2, 2]
    assert reused(bare_search(factor=2.0)) == [0, 0, 0]
    assert not [text for text in user_warnings() if "no effect" in text]


def test_stage_without_uid_is_not_shared(points, recorded):
    trackmllib.autolog(reuse_stages=True)
    last = StubEstimator()
    search = TrainValidationSplit(
        estimator=Pipeline(stages=[BareStage(), BareStage(), last]),
        estimatorParamMaps=[{last.x: 1.0}, {last.x: 2.0}],
        evaluator=BareEvaluator(),
    )
    explained = trackmllib.explain(search)
    assert explained.stages[0].reason == "its params cannot be read"
    search.fit(points)
    assert len(recorded.children(recorded.only_parent_run())) == 2


class BareStage(Estimator):
    """A stage that leaves the data as it is."""

    def __init__(self):
        self.factor = 1.0

    def copy(self, extra=None):
        return type(self)()

    def _fit(self, dataset):
        return SQLTransformer(statement="SELECT * FROM __THIS__")
