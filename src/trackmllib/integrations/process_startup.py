"""Recording from the start of a process, if ``TRACKMLLIB_AUTOLOG`` is on.

``trackmllib run`` and ``trackmllib install-hook`` have Python processes call ``watch()`` when they
start. Most of them never train a model, so nothing slow is imported before Spark's tuners.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from trackmllib.api.autolog import STARTUP, autolog_for
from trackmllib.integrations.startup_variable import VARIABLE, BadVariable, is_on
from trackmllib.support.import_hooks import when_imported

TUNERS = ("pyspark.ml.tuning", "pyspark.ml.connect.tuning")
_SESSION = "trackmllib.runtime.session"

_watching = False


def watch() -> None:
    """Call ``autolog()`` when Spark's tuners are imported. Idempotent.

    ``TRACKMLLIB_AUTOLOG`` is read at that time. A call of ``autolog()`` by the program takes
    precedence. An error becomes one warning.
    """
    global _watching
    if _watching:
        return
    _watching = True
    for name in (*TUNERS, _SESSION):
        when_imported(name, _autolog)


def _autolog(imported: ModuleType) -> None:
    """Call ``autolog()``; never fails, because this is part of an import."""
    session = sys.modules.get(_SESSION)
    if session is not None and not hasattr(session, "Session"):
        # trackmllib.testing imports the tuners; this function is called again later.
        return
    if is_spark_worker():
        return
    try:
        if is_on(os.environ.get(VARIABLE, "")):
            autolog_for(STARTUP, {})
    except BadVariable as error:
        # The tuners of Spark Connect import the classic ones; one warning is enough.
        if imported.__name__ == TUNERS[0]:
            _warn(str(error))
    except Exception as error:  # noqa: BLE001 - the user's import must not fail
        _warn(
            f"{VARIABLE} is on, but autolog() failed, and searches are not recorded; the training "
            f"is not affected. {type(error).__name__}: {error} (To see the traceback, call "
            "trackmllib.autolog().)"
        )


def _warn(message: str) -> None:
    # Imported late, because most processes have nothing to report.
    import logging

    logging.getLogger("trackmllib").warning("%s", message)


def is_spark_worker() -> bool:
    """Whether Spark started this process to run the user's functions.

    Its main module is one of pyspark's, or the one in ``spark.python.daemon.module``.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return (spec is not None and spec.name.startswith("pyspark.")) or any(
        name.startswith("PYTHON_WORKER_FACTORY_") for name in os.environ
    )
