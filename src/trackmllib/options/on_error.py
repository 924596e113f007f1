"""What becomes of a candidate that fails, as the option says it: ``raise``, ``skip``, ``retry:2``,
or ``retry:2,skip``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

RAISE = "raise"
SKIP = "skip"
_WORDS = re.compile(r"(?:retry:([1-9][0-9]*))?(?:(?:^|,)(raise|skip))?", re.ASCII)


class OnError(NamedTuple):
    """How often a cell is tried again, and whether a candidate whose cell fails then is skipped."""

    retries: int = 0
    skip: bool = False


def read(words: str) -> OnError:
    """What these words say. ValueError for others."""
    found = _WORDS.fullmatch("".join(words.split()).lower())
    if found is None or not (found[1] or found[2]):
        raise ValueError(f"{words!r} does not say what becomes of a candidate that fails")
    return OnError(int(found[1] or 0), found[2] == SKIP)
