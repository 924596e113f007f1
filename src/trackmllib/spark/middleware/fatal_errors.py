"""Errors after which no candidate can succeed.

=====================================  ====================================================
error                                  recognized by
=====================================  ====================================================
Ctrl-C, or exit of the process         not an ``Exception``
``trackmllib stop``                    ``SearchStopped``
driver out of memory                   ``MemoryError``, ``java.lang.OutOfMemoryError`` (unless an
                                       executor on another machine raised it)
Spark context stopped                  the context itself, and py4j's error without a context
Connect session gone                   ``SESSION_CLOSED``, ``SESSION_NOT_FOUND``,
                                       ``SESSION_CHANGED``, or an ``UNAVAILABLE`` server
=====================================  ====================================================
"""

from __future__ import annotations

from typing import Any

from trackmllib.exceptions import SearchStopped
from trackmllib.support.guard import attempt

_OUT_OF_MEMORY = "java.lang.OutOfMemoryError"
_MESSAGES = (
    "SESSION_CLOSED",
    "SESSION_NOT_FOUND",
    "SESSION_CHANGED",
    "StatusCode.UNAVAILABLE",
    "Cannot call methods on a stopped SparkContext",
    "SparkContext was shut down",
)
_CLASSES = ("Py4JNetworkError",)


def is_fatal(error: BaseException) -> bool:
    """Whether no candidate can succeed after this error."""
    if not isinstance(error, Exception) or isinstance(error, (MemoryError, SearchStopped)):
        return True
    if type(error).__name__ in _CLASSES or attempt(_is_stopped, False):
        return True
    text = attempt(lambda: str(error), "")
    if _OUT_OF_MEMORY in text and "Job aborted due to stage failure" in text:
        # An executor ran out of memory, perhaps because of this candidate, or else the driver did.
        return attempt(_is_local, True)
    return _OUT_OF_MEMORY in text or any(message in text for message in _MESSAGES)


def _is_local() -> bool:
    from pyspark import SparkContext

    return str(SparkContext._active_spark_context.master).startswith("local")


def _is_stopped() -> bool:
    """Whether this process had a SparkContext that is stopped now."""
    try:
        from py4j.java_gateway import JavaGateway  # noqa: F401 - missing in the thin client
        from pyspark import SparkContext
    except ImportError:
        return False
    if SparkContext._gateway is None:
        # Spark Connect has no context.
        return False
    context: Any = SparkContext._active_spark_context
    return context is None or context._jsc is None or bool(context._jsc.sc().isStopped())
