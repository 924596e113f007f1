"""Base class of the rules for nested fits.

To add one, write a module here with a subclass of ``Rule``, and list an instance with its
estimators in ``rules.py``. ``tests/spark/test_nested_rules.py`` compares the models of each rule
with separate fits, to the last bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class NotDerivable(Exception):
    """This model may differ from that of a separate fit; the message says why."""


class Rule(ABC):
    """Rule by which an estimator's models are derived from a larger one.

    ``params`` names the params in which nested candidates may differ. ``needs_jvm``: models are
    derived in the JVM, to which Spark Connect gives no access. ``has_summary``: models have a
    training summary, which derived models lack; users see it only in sub-models.
    """

    params: tuple[str, ...]
    needs_jvm = True
    has_summary = False

    def why_not(self, values: Mapping[str, Any]) -> str | None:
        """Return why candidates with these params must be fitted separately.

        :returns: None if their models can be derived.
        """
        return None

    @abstractmethod
    def size(self, values: Mapping[str, Any]) -> Any:
        """Return a size, largest for the candidate whose model is fitted."""

    def estimator_to_fit(self, estimator: Any) -> Any:
        """Return the estimator whose model contains those of all candidates of a group.

        :param estimator: That of the largest candidate.
        :returns: The same object, or a changed copy. The model of the same object is that of the
            largest candidate itself.
        """
        return estimator

    @abstractmethod
    def derived_java(self, large: Any, estimator: Any, session: Any) -> Any:
        """Return the Java model of an estimator, from a larger Java model.

        :raises NotDerivable: It may differ from that of a separate fit.
        """

    def derive(self, large: Any, estimator: Any, data: Any) -> Any:
        """Derive the model that the estimator would fit to this data.

        :raises NotDerivable: It may differ from that of a separate fit.
        :raises Exception: Spark rejects the params.
        """
        # As JavaEstimator.fit does, which also checks the params and the columns.
        estimator._transfer_params_to_java()
        java = estimator._java_obj
        java.transformSchema(data._jdf.schema())
        session = data.sparkSession
        derived = self.derived_java(large._java_obj, estimator, session)
        empty = session._jvm.org.apache.spark.ml.param.ParamMap()
        derived = java.copyValues(derived, empty).setParent(java)
        return estimator._copyValues(estimator._create_model(derived))
