"""Automatic MLflow tracking for Spark MLlib's hyperparameter searches."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trackmllib.exceptions import (
    CandidateTimeout,
    DependencyError,
    IncompleteRecord,
    SearchStopped,
    TrackmllibError,
    UnknownSearch,
    Unreachable,
)
from trackmllib.version import __version__

if TYPE_CHECKING:
    from trackmllib.api.autolog import autolog, flush
    from trackmllib.api.results import explain, load_results, results
    from trackmllib.integrations.ipython import load_ipython_extension, unload_ipython_extension
    from trackmllib.reporting.results import Results

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

# Imported on first use, because `import mlflow` imports this package for its plugin.
_MODULES = {
    "Results": "trackmllib.reporting.results",
    "autolog": "trackmllib.api.autolog",
    "explain": "trackmllib.api.results",
    "flush": "trackmllib.api.autolog",
    "load_ipython_extension": "trackmllib.integrations.ipython",
    "load_results": "trackmllib.api.results",
    "results": "trackmllib.api.results",
    "unload_ipython_extension": "trackmllib.integrations.ipython",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
