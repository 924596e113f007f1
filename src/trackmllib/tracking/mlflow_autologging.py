"""Suppression of MLflow's own Spark ML autologging in recorded searches.

``mlflow.pyspark.ml.autolog()`` would start a run for every fit of a search. Its patches call
``get_autologging_config`` each time to find out whether they are disabled, so this module patches
that function for the threads of searches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlflow.utils import autologging_utils

from trackmllib.support.patching import Patch

INTEGRATION = "pyspark.ml"


def supports_installed_pyspark() -> bool:
    """Whether MLflow's autologging has been tested with this pyspark."""
    return bool(autologging_utils.is_flavor_supported_for_associated_package_versions(INTEGRATION))


class AutologgingSuppressor:
    """The patch of ``get_autologging_config``.

    :param inside_search: Whether the current thread runs code of a search.
    """

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
