"""Rules for ``PCA`` (``k``) and ``IDF`` (``minDocFreq``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trackmllib.spark.middleware.nested_fits.base import NotDerivable, Rule
from trackmllib.spark.middleware.nested_fits.java import nested_models

# With more features, Spark computes only k singular values, by a method that depends on k.
_MOST_FEATURES_OF_FULL_SVD = 65_535


class PcaComponents(Rule):
    """The first ``k`` components, of all that Spark computes."""

    params = ("k",)

    def size(self, values: Mapping[str, Any]) -> Any:
        return values["k"]

    def derived_java(self, large: Any, estimator: Any, session: Any) -> Any:
        k, jvm = estimator.getK(), session._jvm
        matrix, variance = large.pc(), large.explainedVariance()
        rows = matrix.numRows()
        if rows > _MOST_FEATURES_OF_FULL_SVD or matrix.isTransposed():
            raise NotDerivable("with so many features, Spark computes only k components")
        linalg, copy = jvm.org.apache.spark.ml.linalg, jvm.java.util.Arrays.copyOf
        components = linalg.DenseMatrix(rows, k, copy(matrix.values(), rows * k), False)
        first = linalg.DenseVector(copy(variance.values(), k))
        return jvm.org.apache.spark.ml.feature.PCAModel(estimator.uid, components, first)


class IdfDocuments(Rule):
    """Weights of 0 for terms in fewer than ``minDocFreq`` documents."""

    params = ("minDocFreq",)

    def size(self, values: Mapping[str, Any]) -> Any:
        return -values["minDocFreq"]

    def derived_java(self, large: Any, estimator: Any, session: Any) -> Any:
        return nested_models(session).idf(large, estimator.uid, estimator.getMinDocFreq())
