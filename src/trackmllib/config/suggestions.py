"""Suggestions for misspelled words ("did you mean …?")."""

from __future__ import annotations

import difflib
from collections.abc import Mapping


def nearest(word: str, words: Mapping[str, str]) -> str | None:
    """Value of the key nearest to ``word``, or None."""
    plain = {_plain(key): value for key, value in words.items()}
    matches = difflib.get_close_matches(_plain(word), plain, n=1)
    return plain[matches[0]] if matches else None


def question(meant: str | None) -> str:
    """Question to put after a misspelled word; empty without a suggestion."""
    return "" if meant is None else f" (did you mean {meant}?)"


def _plain(word: str) -> str:
    return word.strip().lower().replace("_", "").replace("-", "")
