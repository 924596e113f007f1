"""Reads the Spark conf of the session that a search runs in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trackmllib.guard import attempt
from trackmllib.options.names import KNOWN_KEYS, is_key


def read_conf(dataset: Any) -> dict[str, str]:
    """Our keys in the conf of the data's session, with their values; none without a session.

    Runs no Spark job. Where keys cannot be listed, those that are known are asked for.
    """
    conf = attempt(lambda: dataset.sparkSession.conf, None)
    if conf is None:
        return {}
    # On Spark Connect one call brings all; on classic Spark each entry would be a call to the JVM.
    if not hasattr(conf, "_jconf") and hasattr(type(conf), "getAll"):
        return attempt(lambda: _ours(conf.getAll.items()), {})
    names = attempt(lambda: _names(conf), KNOWN_KEYS)
    return attempt(lambda: _ours((name, conf.get(name, None)) for name in names), {})


def _names(conf: Any) -> tuple[str, ...]:
    """The names of ours on classic Spark, in one answer; raises on Connect before Spark 4."""
    names = conf._jconf.getAll().keys().mkString("\n").split("\n")
    return tuple(name for name in names if is_key(name))


def _ours(pairs: Iterable[tuple[str, Any]]) -> dict[str, str]:
    return {name: value for name, value in pairs if is_key(name) and isinstance(value, str)}
