"""Which candidates get child runs, as the option says it: ``all``, or ``best:20``."""

from __future__ import annotations

import re

ALL = "all"
_BEST = re.compile(r"best:([1-9][0-9]*)", re.ASCII)


def most(children: str) -> int | None:
    """How many of the best get child runs; None where all candidates do. ValueError for other
    words.
    """
    if children == ALL:
        return None
    found = _BEST.fullmatch(children)
    if found is None:
        raise ValueError(f"{children!r} does not say which candidates get child runs")
    return int(found[1])


def is_good(children: str) -> bool:
    """Whether these are words that the option takes."""
    return children == ALL or _BEST.fullmatch(children) is not None
