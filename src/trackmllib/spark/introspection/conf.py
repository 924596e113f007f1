"""Reader of our keys in the conf of a Spark session."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from trackmllib.config.unknown_names import KEYS, is_key
from trackmllib.support.guard import attempt


class SessionConf:
    """Reader of session confs that remembers which sessions did not answer.

    If a Spark Connect server is gone, each request is retried for ten minutes. So a session that
    did not answer gets no other request for this search.
    """

    def __init__(self) -> None:
        self._silent: weakref.WeakSet[Any] = weakref.WeakSet()

    def read(self, dataset: Any) -> dict[str, str]:
        """Read our keys in the conf of the data's session, without a Spark job."""
        return self.read_session(_session(dataset))

    def read_session(self, session: Any) -> dict[str, str]:
        """Read our keys in the conf of a session."""
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
        """Whether the data's session answered the last ``read``."""
        return attempt(lambda: _session(dataset) not in self._silent, True)


def _read(conf: Any) -> dict[str, str]:
    # On classic Spark, getAll makes one call per entry.
    if not hasattr(conf, "_jconf") and hasattr(type(conf), "getAll"):
        return _ours(conf.getAll.items())
    names = attempt(lambda: _names(conf), KEYS)
    return _ours((name, conf.get(name, None)) for name in names)


def _names(conf: Any) -> tuple[str, ...]:
    """List our keys on classic Spark in one call; raises on Connect in 3.5."""
    names = conf._jconf.getAll().keys().mkString("\n").split("\n")
    return tuple(name for name in names if is_key(name))


def _ours(pairs: Iterable[tuple[str, Any]]) -> dict[str, str]:
    return {name: value for name, value in pairs if is_key(name) and isinstance(value, str)}


def _session(dataset: Any) -> Any:
    return attempt(lambda: dataset.sparkSession, None)
