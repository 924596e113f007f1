"""Check whether fits run only Spark's own code.

Spark's classes share no state between candidates. Other code may draw from a global random
generator, count its calls, or fill a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.ml.param import Param, Params

from trackmllib.spark.introspection.distributions import library_of
from trackmllib.support.guard import attempt

# Modules of the values and Java handles that Spark's classes hold.
_PLAIN_MODULES = ("builtins", "numpy", "py4j", "pyspark")


def is_spark_code(*things: Any) -> bool:
    """Whether components, and all that they hold, are from ``pyspark.ml``.

    Accepts estimators, evaluators and param maps. A function or an unknown value returns False.
    """
    return attempt(lambda: _is_spark_code(things), False)


def _is_spark_code(things: Sequence[Any]) -> bool:
    seen: set[int] = set()
    left = list(things)
    while left:
        thing = left.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, dict):
            left += [*thing.keys(), *thing.values()]
        elif isinstance(thing, (list, tuple, set, frozenset)):
            left += thing
        elif isinstance(thing, Params):
            if not _is_spark_class(type(thing)):
                return False
            # Including attributes that are not params, such as the stages of a PipelineModel.
            left += vars(thing).values()
        elif not isinstance(thing, Param) and (callable(thing) or not _is_plain(type(thing))):
            return False
    return True


def _is_spark_class(kind: type) -> bool:
    return kind.__module__.startswith("pyspark.ml.") and library_of(kind) is not None


def _is_plain(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _PLAIN_MODULES
