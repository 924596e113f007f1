"""Run ids and ages as the commands print them."""

from __future__ import annotations

import time

from trackmllib.support import formatting

_ID_LENGTH = 12


def short_id(run_id: str | None) -> str:
    """Beginning of a run id; nothing for None."""
    return (run_id or "")[:_ID_LENGTH]


def age(since_ms: int) -> str:
    """Time since ``since_ms``."""
    return formatting.rough_duration(time.time() - since_ms / 1000)
