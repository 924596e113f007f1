"""Hyperparameter searches of Spark MLlib, recorded in MLflow by themselves."""

from trackmllib.answers import explain, load_results, results
from trackmllib.autolog import autolog, flush
from trackmllib.errors import (
    CandidateTimeout,
    DependencyError,
    IncompleteRecord,
    SearchStopped,
    TrackmllibError,
    UnknownSearch,
    Unreachable,
)
from trackmllib.notebook import load_ipython_extension, unload_ipython_extension
from trackmllib.version import __version__
from trackmllib.view.results import Results

__all__ = [
    "CandidateTimeout",
    "DependencyError",
    "IncompleteRecord",
    "Results",
    "SearchStopped",
    "TrackmllibError",
    "UnknownSearch",
    "Unreachable",
    "__version__",
    "autolog",
    "explain",
    "flush",
    "load_ipython_extension",
    "load_results",
    "results",
    "unload_ipython_extension",
]
