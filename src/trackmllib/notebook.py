"""``%load_ext trackmllib``: the switch as an extension of IPython."""

from __future__ import annotations

from typing import Any

from trackmllib.autolog import autolog


def load_ipython_extension(ipython: Any) -> None:
    """Record every search from now on, as ``autolog()`` does; called by ``%load_ext trackmllib``.

    :raises trackmllib.DependencyError: pyspark or mlflow is missing or too old.
    """
    autolog()


def unload_ipython_extension(ipython: Any) -> None:
    """Stop recording, as ``autolog(disable=True)`` does; called by ``%unload_ext trackmllib``."""
    autolog(disable=True)
