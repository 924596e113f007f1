"""MLflow plugin by which ``mlflow.autolog()`` records searches.

MLflow has no plugins for autologging. ``import mlflow`` loads those of the group
``mlflow.run_context_provider``, and fails if one of them does. Imports of this module slow it
down, so ``mlflow_autolog`` is imported only with ``mlflow.pyspark.ml``.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from types import ModuleType

FLAVOR = "mlflow.pyspark.ml"
_INTEGRATION = "pyspark.ml"
_TOO_NEW = (4, 0)

_watching = False


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
    """Wrap ``mlflow.pyspark.ml.autolog`` once it is imported. Idempotent.

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


def _flavor_imported(module: ModuleType) -> None:
    """Wrap ``mlflow.pyspark.ml.autolog``; never fails, as part of an import."""
    if getattr(getattr(module, "autolog", None), "integration_name", None) != _INTEGRATION:
        _debug(f"{FLAVOR} has no autolog()")
        return
    with suppress(Exception):
        from trackmllib.integrations import mlflow_autolog

        mlflow_autolog.wrap(module)


def _debug(reason: str) -> None:
    """Log why ``mlflow.autolog()`` does not record searches."""
    import logging

    logging.getLogger("trackmllib").debug("mlflow.autolog() records no searches: %s.", reason)
