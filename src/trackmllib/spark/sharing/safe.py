"""Which stages give the same each time they are fitted or applied, so that sharing changes nothing.

Known classes only, and no subclasses of them. Each of them computes an output row from its input
row and what was fitted; what is fitted depends on the data, the params and a seed alone, up to the
last bits of sums: Spark adds up the parts of more than two partitions in the order in which its
tasks end, so that each fit of its own may differ there. What is shared is one of these. Where more
than that depends on which task ends first, the stage is not shared, and the reason is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.ml import feature

# With pyspark's own names; what a version does not have is left out.
_SAFE = """
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
_QUANTILES = "its approximate quantiles depend on which of Spark's tasks ends first"
_NOT_SAFE = {
    "CountVectorizer": "which of two equally frequent words comes first depends on which of "
    "Spark's tasks ends first",
    "QuantileDiscretizer": _QUANTILES,
    "RobustScaler": _QUANTILES,
    "SQLTransformer": "its statement may be anything",
    "Word2Vec": "the order of equally frequent words depends on which of Spark's tasks ends first",
}

_SAFE_CLASSES = frozenset(
    getattr(feature, name) for name in _SAFE.split() if hasattr(feature, name)
)


def why_not(stage: Any, values: Mapping[str, Any]) -> str | None:
    """Why a stage with these values of its params cannot be shared; None if it can."""
    kind = type(stage)
    if kind is feature.Imputer:
        return None if values["strategy"] == "mean" else _QUANTILES
    if hasattr(stage, "seed") and "seed" not in values:
        return "it has no seed"
    if kind in _SAFE_CLASSES:
        return None
    if kind.__module__ == feature.__name__ and kind.__name__ in _NOT_SAFE:
        return _NOT_SAFE[kind.__name__]
    return "it is not known to give the same each time"
