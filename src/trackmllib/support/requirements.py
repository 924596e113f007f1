"""Check of the required packages."""

from __future__ import annotations

import importlib
import re

from trackmllib.exceptions import DependencyError

NEEDED = {"pyspark": (3, 5), "pydantic": (2, 0), "mlflow": (2, 22)}


def check() -> None:
    """Raise DependencyError if a package in ``NEEDED`` is missing or too old."""
    for package, needed in NEEDED.items():
        wanted = ".".join(map(str, needed))
        mend = f'pip install "{package}>={wanted}"'
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise DependencyError(
                f"trackmllib needs {package} {wanted} or newer, but it cannot be imported "
                f"({error}). Fix: {mend}"
            ) from error
        found = str(getattr(module, "__version__", "unknown"))
        if numbers(found) < needed:
            raise DependencyError(
                f"trackmllib needs {package} {wanted} or newer, but {found} is installed. "
                f"Fix: {mend}"
            )


def numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
