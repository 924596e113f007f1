"""Check of optional packages."""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from trackmllib.exceptions import DependencyError


def require(packages: Iterable[str], what: str) -> None:
    """Raise DependencyError if a package that ``what`` needs is missing."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise DependencyError(
                f"{what} needs {package}, which cannot be imported ({error}); "
                'install it with: pip install "trackmllib[report]"'
            ) from error
