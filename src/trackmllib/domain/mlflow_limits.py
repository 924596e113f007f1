"""Names and values that MLflow accepts.

The limits are those of ``mlflow.utils.validation``, and the smallest of all versions.
"""

from __future__ import annotations

import functools
import posixpath
import re

from trackmllib.support.formatting import truncate

MAX_PARAM_VALUE = 6000
MAX_TAG_VALUE = 5000
MAX_RUN_NAME = 120
# MLflow's 250, less a prefix like ``evaluator.`` and the ``_<search id>`` of name collisions.
MAX_KEY = 250 - 10 - 37

# MLflow also allows colons, except on Windows; names are the same on all platforms.
_REJECTED = re.compile(r"[^/\w.\- ]")


@functools.lru_cache(maxsize=1024)
def sanitize_key(name: str) -> str:
    """Key of a param, a metric or a tag that MLflow accepts.

    Rejected characters become ``_``, and so do slashes unless the name is a normal path (not
    ``a//b`` or ``../a``). Long names are truncated.
    """
    # A cut may leave a slash at the end.
    key = _REJECTED.sub("_", name)[:MAX_KEY]
    if posixpath.normpath(key) != key or key.startswith(("/", "..")):
        key = key.replace("/", "_") or "_"
    if key.startswith("..") or key == ".":
        key = key.replace(".", "_")
    return key


def param_value(text: str) -> str:
    """Text that MLflow accepts as the value of a param."""
    return truncate(text, MAX_PARAM_VALUE)


def tag_value(text: str) -> str:
    """Text that MLflow accepts as the value of a tag."""
    return truncate(text, MAX_TAG_VALUE)
