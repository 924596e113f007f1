"""Packages that only figures, reports and tables need, and what is said where one is missing."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from trackmllib.errors import DependencyError


def need(packages: Iterable[str], what: str) -> None:
    """Import the packages; DependencyError says what to install for ``what``."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise DependencyError(
                f"{what} needs {package}, which cannot be imported ({error}); "
                'install it with: pip install "trackmllib[report]"'
            ) from error
