"""Keeps MLflow's own Spark ML autologging out of our searches.

``mlflow.pyspark.ml.autolog()`` would start a run for every fit inside of a search. Its patches ask
``get_autologging_config`` at each call whether they are disabled; there we answer yes in threads
that run code of a search, and let MLflow answer everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow.utils import autologging_utils

from trackmllib.patching import Patch

INTEGRATION = "pyspark.ml"


class MlflowMute:
    """The patch of ``get_autologging_config``; ``inside_search`` is asked for this thread."""

    def __init__(self, inside_search: Callable[[], bool]) -> None:
        self._inside_search = inside_search
        self._patch = Patch(autologging_utils, "get_autologging_config", self._around)

    def install(self) -> None:
        self._patch.install()

    def uninstall(self) -> None:
        self._patch.uninstall()

    def _around(
        self, original: Any, flavor_name: str, config_key: str, *rest: Any, **named: Any
    ) -> Any:
        if flavor_name == INTEGRATION and config_key == "disable" and self._inside_search():
            return True
        return original(flavor_name, config_key, *rest, **named)
