"""Check whether a stage is deterministic, so that it can be shared.

Only the classes listed here count as deterministic, not their subclasses. They compute each output
row from its input row and the fitted model, which depends only on the data, the params and a seed.
The last bits of sums are an exception: Spark adds up partitions in the order in which tasks end, so
that two fits may differ there even without sharing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.ml import feature

# Names in pyspark.ml.feature; older versions lack some of them.
_DETERMINISTIC = """
Binarizer BucketedRandomProjectionLSH Bucketizer ChiSqSelector DCT ElementwiseProduct
FeatureHasher HashingTF IDF IndexToString Interaction MaxAbsScaler MinHashLSH MinMaxScaler NGram
Normalizer OneHotEncoder PCA PolynomialExpansion RegexTokenizer StandardScaler StopWordsRemover
StringIndexer Tokenizer UnivariateFeatureSelector VarianceThresholdSelector VectorAssembler
VectorIndexer VectorSlicer
BucketedRandomProjectionLSHModel ChiSqSelectorModel CountVectorizerModel IDFModel ImputerModel
MaxAbsScalerModel MinHashLSHModel MinMaxScalerModel OneHotEncoderModel PCAModel RobustScalerModel
StandardScalerModel StringIndexerModel UnivariateFeatureSelectorModel
VarianceThresholdSelectorModel VectorIndexerModel Word2VecModel
"""
_TASK_ORDER = "depends on the order in which Spark's tasks end"
_QUANTILES = f"its approximation of quantiles {_TASK_ORDER}"
_WORDS = f"the order of equally frequent words {_TASK_ORDER}"
_NOT_DETERMINISTIC = {
    "CountVectorizer": _WORDS,
    "QuantileDiscretizer": _QUANTILES,
    "RobustScaler": _QUANTILES,
    "SQLTransformer": "its SQL statement may not be deterministic",
    "Word2Vec": _WORDS,
}

_DETERMINISTIC_CLASSES = frozenset(
    getattr(feature, name) for name in _DETERMINISTIC.split() if hasattr(feature, name)
)


def why_not_deterministic(stage: Any, values: Mapping[str, Any]) -> str | None:
    """Return why a stage with these params cannot be shared; None if it can."""
    kind = type(stage)
    if kind is feature.Imputer:
        return None if values["strategy"] == "mean" else _QUANTILES
    if hasattr(stage, "seed") and "seed" not in values:
        return "it has no seed"
    if kind in _DETERMINISTIC_CLASSES:
        return None
    if kind.__module__ == feature.__name__ and kind.__name__ in _NOT_DETERMINISTIC:
        return _NOT_DETERMINISTIC[kind.__name__]
    return "it is not known to be deterministic"
