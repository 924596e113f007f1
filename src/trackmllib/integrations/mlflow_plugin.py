"""MLflow plugin by which ``mlflow.autolog()`` records searches.

MLflow has no plugins for autologging. ``import mlflow`` loads those of the group
``mlflow.run_context_provider``, and fails if one of them does. Imports of this module slow it
down, so ``mlflow_autolog`` is imported only with ``mlflow.pyspark.ml``.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

FLAVOR = "mlflow.pyspark.ml"
FLUENT = "mlflow.tracking.fluent"
# `mlflow` imports it after FLUENT, and before it takes autolog from there.
_AFTER_FLUENT = "mlflow.tracking._model_registry.fluent"
_INTEGRATION = "pyspark.ml"
_TOO_NEW = (4, 0)

_watching = False
# Names of the arguments given in the last call of mlflow.autolog().
_given: frozenset[str] = frozenset()


class SearchAutologging:
    """Run context provider that adds no tags; its creation calls ``watch``."""

    def __init__(self) -> None:
        with suppress(Exception):
            watch()

    def in_context(self) -> bool:
        return False

    def tags(self) -> dict[str, str]:
        return {}


def watch() -> None:
    """Wrap MLflow's functions once their modules are imported. Idempotent.

    Called by ``import mlflow``, before MLflow has imported most of its modules.
    """
    from trackmllib.integrations.startup_variable import VARIABLE, is_off
    from trackmllib.support import requirements
    from trackmllib.support.import_hooks import when_imported

    global _watching
    if _watching or is_off(os.environ.get(VARIABLE, "")):
        return
    _watching = True
    version = getattr(sys.modules.get("mlflow.version"), "VERSION", "")
    if not requirements.NEEDED["mlflow"] <= requirements.numbers(version) < _TOO_NEW:
        _debug(f"MLflow {version} is not supported")
        return
    when_imported(FLAVOR, _flavor_imported)
    # Older versions of MLflow load their plugins within the import of FLUENT.
    when_imported(_AFTER_FLUENT if FLUENT in sys.modules else FLUENT, _wrap_fluent)


def _wrap_fluent(imported: ModuleType) -> None:
    """Wrap ``mlflow.autolog``; never fails, because this is part of an import."""
    module = sys.modules.get(FLUENT)
    original = getattr(module, "autolog", None)
    if not callable(original):
        _debug(f"{FLUENT} has no autolog()")
        return

    @functools.wraps(original)
    def autolog(*args: Any, **kwargs: Any) -> Any:
        global _given
        _given = frozenset()
        with suppress(Exception):
            _given = frozenset(inspect.signature(original).bind(*args, **kwargs).arguments)
        return original(*args, **kwargs)

    vars(module)["autolog"] = autolog


def _flavor_imported(module: ModuleType) -> None:
    """Wrap ``mlflow.pyspark.ml.autolog``; never fails, as part of an import."""
    if getattr(getattr(module, "autolog", None), "integration_name", None) != _INTEGRATION:
        _debug(f"{FLAVOR} has no autolog()")
        return
    with suppress(Exception):
        from trackmllib.integrations import mlflow_autolog

        mlflow_autolog.wrap(module, lambda: _given)


def _debug(reason: str) -> None:
    """Log why ``mlflow.autolog()`` does not record searches."""
    import logging

    logging.getLogger("trackmllib").debug("mlflow.autolog() records no searches: %s.", reason)
