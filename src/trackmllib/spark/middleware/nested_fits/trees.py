"""Rules for decision trees and random forests (``maxDepth``).

Spark grows a tree level by level, so the tree of a smaller ``maxDepth`` is a larger tree, cut at
that depth. At the end, Spark merges sibling leaves with the same prediction, which loses splits.
If the estimator has the param ``pruneTree``, the large tree is therefore fitted without merging.
Otherwise, a model is not derived if a leaf above the cut may be a merged one. Unweighted
classification trees are an exception: all nodes below a merged leaf predict the same class, so the
smaller tree has the same leaf.

If Spark tries and fails to split a node, it has added up the node's statistics in another order.
Sums of whole numbers are equal in any order; others may differ in the last bits from those of a
tree in which Spark never tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trackmllib.spark.middleware.nested_fits.base import NotDerivable, Rule
from trackmllib.spark.middleware.nested_fits.java import NestedModels, nested_models

_BYTES_PER_NUMBER = 8
# Statistics per bin: the counts by class, or weight, sum and sum of squares; and the row count.
_REGRESSION_STATISTICS = 4


class TreeDepth(Rule):
    """A tree of ``DecisionTreeClassifier`` or ``DecisionTreeRegressor``."""

    params = ("maxDepth",)

    def __init__(self, method: str, *, classifies: bool, has_summary: bool = False) -> None:
        self._method = method
        self._classifies = classifies
        self.has_summary = has_summary

    def why_not(self, values: Mapping[str, Any]) -> str | None:
        if self._classifies and "weightCol" in values and "pruneTree" not in values:
            return "with weightCol, this version of Spark may merge leaves that a smaller tree has"
        return None

    def size(self, values: Mapping[str, Any]) -> Any:
        return values["maxDepth"]

    def estimator_to_fit(self, estimator: Any) -> Any:
        if self._classifies and _prunes(estimator) and estimator.hasParam("pruneTree"):
            return estimator.copy({estimator.pruneTree: False})
        return estimator

    def derived_java(self, large: Any, estimator: Any, session: Any) -> Any:
        models, depth = nested_models(session), estimator.getMaxDepth()
        if depth < large.getMaxDepth():
            self._check(large, estimator, models)
        prune = (_prunes(estimator),) if self._classifies else ()
        return getattr(models, self._method)(large, estimator.uid, depth, *prune)

    def _check(self, large: Any, estimator: Any, models: NestedModels) -> None:
        """Raise NotDerivable if a tree of a smaller depth may differ from the cut one."""
        depth = estimator.getMaxDepth()
        if not self._classifies and models.mayHideSplits(large, depth):
            raise NotDerivable("Spark may have merged leaves that a smaller tree has")
        sums_are_exact = self._classifies and not estimator.isDefined("weightCol")
        if not sums_are_exact and models.hasFailedSplits(large, depth):
            raise NotDerivable("Spark added up the statistics of a leaf in another order")


class ForestDepth(TreeDepth):
    """A random forest, which must draw feature subsets in the same order.

    It does if Spark trains each level of all trees in one pass, within ``maxMemoryInMB``.
    """

    def _check(self, large: Any, estimator: Any, models: NestedModels) -> None:
        if not _uses_all_features(estimator) and not self._trains_level_by_level(large, estimator):
            raise NotDerivable("maxMemoryInMB is too small to train each level at once")
        super()._check(large, estimator, models)

    def _trains_level_by_level(self, large: Any, estimator: Any) -> bool:
        statistics = large.numClasses() + 1 if self._classifies else _REGRESSION_STATISTICS
        nodes = estimator.getNumTrees() * 2 ** max(0, estimator.getMaxDepth() - 1)
        bins = large.numFeatures() * estimator.getMaxBins()
        needed: int = nodes * bins * statistics * _BYTES_PER_NUMBER
        limit: int = estimator.getMaxMemoryInMB() * 1024 * 1024
        return needed <= limit


def _prunes(estimator: Any) -> bool:
    """Whether Spark merges leaves of these trees."""
    return not estimator.hasParam("pruneTree") or bool(estimator.getPruneTree())


def _uses_all_features(estimator: Any) -> bool:
    strategy: str = estimator.getFeatureSubsetStrategy()
    return strategy == "all" or (strategy == "auto" and int(estimator.getNumTrees()) == 1)
