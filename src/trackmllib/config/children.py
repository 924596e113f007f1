"""Values of the option ``children``: ``all``, or ``best:20``."""

from __future__ import annotations

import re

ALL = "all"
_BEST = re.compile(r"best:([1-9][0-9]*)", re.ASCII)


def child_run_limit(children: str) -> int | None:
    """Number of best candidates that get child runs; None for all.

    :raises ValueError: The option does not accept ``children``.
    """
    if children == ALL:
        return None
    match = _BEST.fullmatch(children)
    if match is None:
        raise ValueError(f"{children!r} is neither 'all' nor 'best:<number>'")
    return int(match[1])
