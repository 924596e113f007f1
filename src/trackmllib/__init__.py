"""Hyperparameter searches of Spark MLlib, recorded in MLflow by themselves."""

from trackmllib.autolog import autolog, flush
from trackmllib.errors import DependencyError, IncompleteRecord, TrackmllibError
from trackmllib.notebook import load_ipython_extension, unload_ipython_extension
from trackmllib.version import __version__

__all__ = [
    "DependencyError",
    "IncompleteRecord",
    "TrackmllibError",
    "__version__",
    "autolog",
    "flush",
    "load_ipython_extension",
    "unload_ipython_extension",
]
