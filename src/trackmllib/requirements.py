"""The versions of pyspark and mlflow that recording needs, checked when it is switched on."""

from __future__ import annotations

import importlib
import re

from trackmllib.errors import DependencyError

NEEDED = {"pyspark": (3, 5), "mlflow": (2, 22)}


def check() -> None:
    """Raise DependencyError if pyspark or mlflow is missing or older than what is needed."""
    for package, needed in NEEDED.items():
        wanted = ".".join(map(str, needed))
        mend = f'pip install "{package}>={wanted}"'
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise DependencyError(
                f"trackmllib needs {package} {wanted} or newer, but it cannot be imported "
                f"({error}). Mend it with: {mend}"
            ) from error
        found = str(getattr(module, "__version__", "unknown"))
        numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
        if numbers < needed:
            raise DependencyError(
                f"trackmllib needs {package} {wanted} or newer, but {found} is installed. "
                f"Mend it with: {mend}"
            )
