"""IPython extension: ``%load_ext trackmllib``."""

from __future__ import annotations

from typing import Any

from trackmllib.api.autolog import autolog


def load_ipython_extension(ipython: Any) -> None:
    """Call ``autolog()``; runs on ``%load_ext trackmllib``.

    :raises trackmllib.DependencyError: pyspark, mlflow or pydantic is missing or too old.
    """
    autolog()


def unload_ipython_extension(ipython: Any) -> None:
    """Call ``autolog(disable=True)``; runs on ``%unload_ext trackmllib``."""
    autolog(disable=True)
