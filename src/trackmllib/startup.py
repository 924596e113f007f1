"""Switches recording on at the start of a Python process, where the environment says so.

The processes of ``trackmllib run`` call ``watch()`` when they start, and so do all processes of an
environment where ``trackmllib install-hook`` was run. Most of them never train anything: until one
imports Spark's tuners, nothing is loaded here that costs time.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from trackmllib.autolog import autolog_unless_called
from trackmllib.imports import when_imported

VARIABLE = "TRACKMLLIB_AUTOLOG"
TUNERS = ("pyspark.ml.tuning", "pyspark.ml.connect.tuning")
_ON = ("1", "true", "yes", "on")
_OFF = ("", "0", "false", "no", "off")
_SESSION = "trackmllib.session"

_watching = False


class BadSwitch(ValueError):
    """``TRACKMLLIB_AUTOLOG`` has a value that means neither on nor off."""


def watch() -> None:
    """Call ``autolog()`` as soon as Spark's tuners are imported, if ``TRACKMLLIB_AUTOLOG`` is on.

    The variable is read only then. What the program says to ``autolog()`` itself holds, whether it
    does so before or after. An error becomes one warning. Twice is once.
    """
    global _watching
    if _watching:
        return
    _watching = True
    for name in (*TUNERS, _SESSION):
        when_imported(name, _switch_on)


def is_on(value: str) -> bool:
    """What a value of ``TRACKMLLIB_AUTOLOG`` means.

    :raises BadSwitch: it is neither on nor off; the message says what is allowed.
    """
    match value.strip().lower():
        case word if word in _ON:
            return True
        case word if word in _OFF:
            return False
    raise BadSwitch(
        f"{VARIABLE} is {value!r}, but must be {', '.join(_ON)} to switch recording on, or "
        f"{', '.join(_OFF[1:])} or empty to leave it off; searches are not recorded."
    )


def _switch_on(imported: ModuleType) -> None:
    """Runs inside of the import of a tuner, which must succeed whatever happens here."""
    session = sys.modules.get(_SESSION)
    if session is not None and not hasattr(session, "Session"):
        # It is ours that imports the tuners, for trackmllib.testing: we are called again after it.
        return
    if _is_worker_of_spark():
        return
    try:
        if is_on(os.environ.get(VARIABLE, "")):
            autolog_unless_called()
    except BadSwitch as error:
        # Whoever imports the tuners of Spark Connect imports the classic ones too.
        if imported.__name__ == TUNERS[0]:
            _warn(str(error))
    except Exception as error:  # noqa: BLE001 - an error of ours is not one of the user's import
        _warn(
            f"{VARIABLE} asks for it, but recording could not be switched on, and searches are not "
            f"recorded; the training is not affected. {type(error).__name__}: {error} "
            "(trackmllib.autolog() shows where.)"
        )


def _warn(sentence: str) -> None:
    # Only here: most processes have nothing to say, and would load it for nothing.
    import logging

    logging.getLogger("trackmllib").warning("%s", sentence)


def _is_worker_of_spark() -> bool:
    """Whether this process runs the user's functions for Spark, and has no searches of its own.

    Its main module is one of pyspark's, or what ``spark.python.daemon.module`` names.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return (spec is not None and spec.name.startswith("pyspark.")) or any(
        name.startswith("PYTHON_WORKER_FACTORY_") for name in os.environ
    )
