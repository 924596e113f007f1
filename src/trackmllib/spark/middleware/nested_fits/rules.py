"""The rules, by estimator.

Only the classes listed here have nested fits, not their subclasses. Left out:

* because two fits by Spark itself may differ: ``CountVectorizer`` and ``RobustScaler``, whose order
  of equally frequent words and whose quantiles depend on the order in which tasks end,
* because the larger model does not contain the smaller one: ``numTrees`` of forests, whose random
  draws interleave; ``stepSize`` and ``maxDepth`` of boosted trees; ``maxIter`` of other iterative
  methods, whose models have only the result of the last iteration,
* because the model lacks the ranks: ``UnivariateFeatureSelector``, whose model has only the
  selected features.
"""

from __future__ import annotations

from typing import Any

from pyspark.ml import classification, feature, recommendation, regression

from trackmllib.spark.middleware.nested_fits.base import Rule
from trackmllib.spark.middleware.nested_fits.feature import IdfDocuments, PcaComponents
from trackmllib.spark.middleware.nested_fits.gbt import BoostingIterations
from trackmllib.spark.middleware.nested_fits.transform_params import TransformParams
from trackmllib.spark.middleware.nested_fits.trees import ForestDepth, TreeDepth

RULES: dict[type, Rule] = {
    classification.DecisionTreeClassifier: TreeDepth("classificationTree", classifies=True),
    regression.DecisionTreeRegressor: TreeDepth("regressionTree", classifies=False),
    classification.RandomForestClassifier: ForestDepth(
        "classificationForest", classifies=True, has_summary=True
    ),
    regression.RandomForestRegressor: ForestDepth("regressionForest", classifies=False),
    classification.GBTClassifier: BoostingIterations("boostedClassifier"),
    regression.GBTRegressor: BoostingIterations("boostedRegressor"),
    feature.PCA: PcaComponents(),
    feature.IDF: IdfDocuments(),
    classification.LogisticRegression: TransformParams(
        "threshold", unless_set="thresholds", has_summary=True
    ),
    classification.LinearSVC: TransformParams("threshold", has_summary=True),
    feature.StandardScaler: TransformParams("withMean", "withStd"),
    feature.MinMaxScaler: TransformParams("min", "max"),
    feature.StringIndexer: TransformParams("handleInvalid"),
    feature.OneHotEncoder: TransformParams("dropLast"),
    recommendation.ALS: TransformParams("coldStartStrategy"),
}


def rule_of(estimator: Any) -> Rule | None:
    """Return the rule of an estimator, or None."""
    return RULES.get(type(estimator))
