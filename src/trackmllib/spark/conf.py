"""Reads the Spark conf of the session that a search runs in."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from trackmllib.guard import attempt


class SessionConf:
    """The conf of the sessions of searches, and which of them did not answer when asked last.

    On Spark Connect each question is a round trip, and where the server is gone Spark asks again
    for ten minutes. So a session that did not answer is asked nothing else for this search.
    """

    def __init__(self) -> None:
        self._silent: weakref.WeakSet[Any] = weakref.WeakSet()

    def reader(self, dataset: Any) -> Callable[[str], str | None]:
        """What returns the value of a key in the data's session; None where there is none."""
        session = _session(dataset)
        if session in self._silent:
            self._silent.remove(session)

        def read(key: str) -> str | None:
            if session is None or session in self._silent:
                return None
            try:
                value = session.conf.get(key, None)
            except Exception:  # noqa: BLE001 - Spark's own calls will raise it to the user
                attempt(lambda: self._silent.add(session), None)
                return None
            return None if value is None else str(value)

        return read

    def answers(self, dataset: Any) -> bool:
        """Whether the data's session answered when its conf was read."""
        return _session(dataset) not in self._silent


def _session(dataset: Any) -> Any:
    return attempt(lambda: dataset.sparkSession, None)
