"""Characters and lengths that MLflow accepts in names and values.

The limits are those of ``mlflow.utils.validation``, the smaller one where versions differ.
"""

from __future__ import annotations

import functools
import posixpath
import re

MAX_PARAM_VALUE = 6000
MAX_TAG_VALUE = 5000
MAX_RUN_NAME = 120
# MLflow's 250, less the room for a prefix like ``evaluator.`` and for the ``_<search id>`` that a
# conflict appends.
MAX_KEY = 250 - 10 - 37

# MLflow allows colons too, but not on Windows; names are to be the same everywhere.
_REFUSED = re.compile(r"[^/\w.\- ]")
# PostgreSQL stores no NUL, and a lone surrogate has no UTF-8, in which everything is sent. All
# stores return every other control character unchanged.
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


@functools.lru_cache(maxsize=1024)
def key(name: str) -> str:
    """A name that MLflow takes as the key of a param, a metric or a tag.

    Each refused character becomes ``_``; so do the slashes of a name that MLflow would not take as
    a path (``a//b``, ``../a``). Longer names are cut.
    """
    mended = _REFUSED.sub("_", name)
    if posixpath.normpath(mended) != mended or mended.startswith(("/", "..")):
        mended = mended.replace("/", "_") or "_"
    if mended.startswith("..") or mended == ".":
        mended = mended.replace(".", "_")
    return mended[:MAX_KEY]


def escaped(text: str) -> str:
    """The text, with Python's escapes (``\\x00``, ``\\ud800``) for what servers cannot store."""
    if text.isascii() and "\0" not in text:
        return text
    return _NOT_STORABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return r"\x00" if found[0] == "\0" else rf"\u{ord(found[0]):04x}"


def cut(text: str, limit: int) -> str:
    """The escaped text; ``…`` replaces its end if it is longer than ``limit`` characters."""
    text = escaped(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def param_value(text: str) -> str:
    return cut(text, MAX_PARAM_VALUE)


def tag_value(text: str) -> str:
    return cut(text, MAX_TAG_VALUE)
