"""Reads the Spark conf of the session that a search runs in."""

from __future__ import annotations

from typing import Any

from trackmllib.guard import attempt


def read_conf(dataset: Any, key: str) -> str | None:
    """The value of a conf key in the data's session; None where there is none to be read."""
    value = attempt(lambda: dataset.sparkSession.conf.get(key, None), None)
    return None if value is None else str(value)
