"""Whether only code of Spark's runs in a cell.

Spark's classes keep no state that one candidate could leave to the next. Code of anybody else may:
it draws from a global generator, counts its calls, or fills a cache of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pyspark.ml.param import Param, Params

from trackmllib.guard import attempt

# What Spark's classes hold as plain values, or as handles of Java's.
_PLAIN = ("builtins", "numpy", "py4j", "pyspark")


def is_sparks_own(*things: Any) -> bool:
    """Whether these estimators, evaluators and param maps, with all that they hold, are exactly of
    classes of ``pyspark.ml``; of what is not known, it is not.
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
            # Also what is no param, such as the stages of a PipelineModel.
            left += vars(thing).values()
        elif not isinstance(thing, Param) and (callable(thing) or not _is_plain(type(thing))):
            return False
    return True


def _is_of_spark(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    return kind.__module__.startswith("pyspark.ml.") and getattr(module, kind.__name__, 0) is kind


def _is_plain(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _PLAIN
