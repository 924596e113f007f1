"""Check for fits that run only Spark's own code.

Spark's classes keep no state that passes from one candidate to the next. Other code may: it may
draw from a global random generator, count its calls, or fill a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.ml.param import Param, Params

from trackmllib.guard import attempt
from trackmllib.spark.libraries import library_of

# Modules of the plain values and the handles of Java objects that Spark's classes hold.
_PLAIN = ("builtins", "numpy", "py4j", "pyspark")


def is_sparks_own(*things: Any) -> bool:
    """Whether the classes of all these components are from ``pyspark.ml``.

    Checks estimators, evaluators and param maps, with everything that they hold. False for a
    function, or a value of an unknown kind.
    """
    return attempt(lambda: _is_sparks_own(things), False)


def _is_sparks_own(things: Sequence[Any]) -> bool:
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
            if not _is_of_spark(type(thing)):
                return False
            # Including attributes that are not params, such as the stages of a PipelineModel.
            left += vars(thing).values()
        elif not isinstance(thing, Param) and (callable(thing) or not _is_plain(type(thing))):
            return False
    return True


def _is_of_spark(kind: type) -> bool:
    return kind.__module__.startswith("pyspark.ml.") and library_of(kind) is not None


def _is_plain(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _PLAIN
