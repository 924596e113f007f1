"""Values of the option ``on_error``: ``retry:2,skip`` and others."""

from __future__ import annotations

import re
from typing import NamedTuple

RAISE = "raise"
SKIP = "skip"
_POLICY = re.compile(r"(?:retry:([1-9][0-9]*))?(?:(?:^|,)(raise|skip))?", re.ASCII)


class OnErrorPolicy(NamedTuple):
    """Retries of a fit, and whether its candidate is skipped after them."""

    retries: int = 0
    skip: bool = False


def parse_on_error(text: str) -> OnErrorPolicy:
    """Parse a value of the option.

    :raises ValueError: The option does not accept ``text``.
    """
    match = _POLICY.fullmatch("".join(text.split()).lower())
    if match is None or not (match[1] or match[2]):
        raise ValueError(f"{text!r} is neither 'raise', 'skip' nor 'retry:<number>'")
    return OnErrorPolicy(int(match[1] or 0), match[2] == SKIP)
