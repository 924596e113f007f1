"""Which errors are those of the whole application: after them no candidate could do better.

=====================================  ====================================================
error                                  known by
=====================================  ====================================================
Ctrl-C, an exit, the end of a search   they are no ``Exception``, or ours
a stop by ``trackmllib stop``          ``SearchStopped``
the driver out of memory               ``MemoryError``, ``java.lang.OutOfMemoryError`` (not of an
                                       executor on another machine)
the Spark context is stopped           asked of the context, and what py4j raises without one
the Connect session is gone            ``SESSION_CLOSED``, ``SESSION_NOT_FOUND``,
                                       ``SESSION_CHANGED``, or a server that is ``UNAVAILABLE``
=====================================  ====================================================
"""

from __future__ import annotations

from typing import Any

from trackmllib.errors import SearchStopped
from trackmllib.guard import attempt

_OUT_OF_MEMORY = "java.lang.OutOfMemoryError"
_WORDS = (
    "SESSION_CLOSED",
    "SESSION_NOT_FOUND",
    "SESSION_CHANGED",
    "StatusCode.UNAVAILABLE",
    "Cannot call methods on a stopped SparkContext",
    "SparkContext was shut down",
)
_NAMES = ("Py4JNetworkError",)


def is_of_application(error: BaseException) -> bool:
    """Whether an error is one that no candidate is to blame for, and none would be spared."""
    if not isinstance(error, Exception) or isinstance(error, (MemoryError, SearchStopped)):
        return True
    if type(error).__name__ in _NAMES or attempt(_is_stopped, False):
        return True
    text = attempt(lambda: str(error), "")
    if _OUT_OF_MEMORY in text and "Job aborted due to stage failure" in text:
        # On an executor it may be this candidate's; where the driver is the executor, it is all's.
        return attempt(_is_local, True)
    return _OUT_OF_MEMORY in text or any(word in text for word in _WORDS)


def _is_local() -> bool:
    from pyspark import SparkContext

    return str(SparkContext._active_spark_context.master).startswith("local")


def _is_stopped() -> bool:
    """Whether there was a SparkContext in this process, and it is stopped."""
    try:
        from py4j.java_gateway import JavaGateway  # noqa: F401 - not there in the thin client
        from pyspark import SparkContext
    except ImportError:
        return False
    if SparkContext._gateway is None:
        # On Connect there never was one.
        return False
    context: Any = SparkContext._active_spark_context
    return context is None or context._jsc is None or bool(context._jsc.sc().isStopped())
