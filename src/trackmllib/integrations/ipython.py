"""IPython extension: ``%load_ext trackmllib``."""

from __future__ import annotations

from typing import Any

from trackmllib.api.autolog import autolog


def load_ipython_extension(ipython: Any) -> None:
    """Call ``autolog()``; runs on ``%load_ext trackmllib``.

    Args:
        ipython: The IPython shell; not used.

    Raises:
        trackmllib.DependencyError: pyspark, mlflow or pydantic is missing or too old.

    Example:
        In the first cell of a notebook::

            %load_ext trackmllib
    """
    autolog()


def unload_ipython_extension(ipython: Any) -> None:
    """Call ``autolog(disable=True)``; runs on ``%unload_ext trackmllib``.

    Args:
        ipython: The IPython shell; not used.

    Example:
        In a cell of a notebook::

            %unload_ext trackmllib
    """
    autolog(disable=True)
