"""Reads our keys of the Spark conf of the session that a search runs in."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from trackmllib.guard import attempt
from trackmllib.options.names import KNOWN_KEYS, is_key


class SessionConf:
    """The conf of the sessions of searches, and which of them did not answer when asked last.

    On Spark Connect a question is a round trip, and where the server is gone Spark asks again for
    ten minutes. So a session that did not answer is asked nothing else for this search.
    """

    def __init__(self) -> None:
        self._silent: weakref.WeakSet[Any] = weakref.WeakSet()

    def read(self, dataset: Any) -> dict[str, str]:
        """Our keys in the conf of the data's session, with their values; none without a session.

        Runs no Spark job. Where keys cannot be listed, those that are known are asked for.
        """
        session = _session(dataset)
        conf = attempt(lambda: session.conf, None)
        if conf is None:
            return {}
        attempt(lambda: self._silent.discard(session), None)
        try:
            return _read(conf)
        except Exception:  # noqa: BLE001 - Spark's own calls will raise it to the user
            attempt(lambda: self._silent.add(session), None)
            return {}

    def answers(self, dataset: Any) -> bool:
        """Whether the data's session answered when its conf was read."""
        return attempt(lambda: _session(dataset) not in self._silent, True)


def _read(conf: Any) -> dict[str, str]:
    # On Spark Connect one call brings all; on classic Spark each entry would be a call to the JVM.
    if not hasattr(conf, "_jconf") and hasattr(type(conf), "getAll"):
        return _ours(conf.getAll.items())
    names = attempt(lambda: _names(conf), KNOWN_KEYS)
    return _ours((name, conf.get(name, None)) for name in names)


def _names(conf: Any) -> tuple[str, ...]:
    """The names of ours on classic Spark, in one answer; raises on Connect before Spark 4."""
    names = conf._jconf.getAll().keys().mkString("\n").split("\n")
    return tuple(name for name in names if is_key(name))


def _ours(pairs: Iterable[tuple[str, Any]]) -> dict[str, str]:
    return {name: value for name, value in pairs if is_key(name) and isinstance(value, str)}


def _session(dataset: Any) -> Any:
    return attempt(lambda: dataset.sparkSession, None)
