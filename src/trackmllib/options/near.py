"""Finds the word that somebody has meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping


def nearest(word: str, words: Mapping[str, str]) -> str | None:
    """What the nearest of ``words`` stands for; None if none is near. Case, ``_`` and ``-`` do not
    count.
    """
    plain = {_plain(known): meant for known, meant in words.items()}
    found = difflib.get_close_matches(_plain(word), plain, n=1)
    return plain[found[0]] if found else None


def question(meant: str | None) -> str:
    """What a sentence asks in brackets, after the word that is wrong; nothing for None."""
    return "" if meant is None else f" (did you mean {meant}?)"


def _plain(word: str) -> str:
    return word.strip().lower().replace("_", "").replace("-", "")
