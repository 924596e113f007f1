"""Escapes for characters that tracking servers cannot store."""

from __future__ import annotations

import re

# PostgreSQL cannot store NUL, and UTF-8 cannot encode lone surrogates.
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


def escaped(text: str) -> str:
    """Escape what servers cannot store, as Python does: ``\\x00``, ``\\ud800``."""
    if text.isascii() and "\0" not in text:
        return text
    return _NOT_STORABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return r"\x00" if found[0] == "\0" else rf"\u{ord(found[0]):04x}"
