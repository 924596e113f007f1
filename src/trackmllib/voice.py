"""What users are told: a line of the logger ``trackmllib``, or nothing where they want silence."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from trackmllib.settings import Settings

logger = logging.getLogger("trackmllib")


class Voice:
    """Warns in the way of the settings of a search, or of those that hold for all of them."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def warn(self, text: str, settings: Settings | None = None) -> None:
        silent = (settings or self._settings()).silent
        logger.log(logging.DEBUG if silent else logging.WARNING, "%s", text)

    def once(self, sentences: Iterable[str], settings: Settings | None = None) -> None:
        """Warn of each thing once in this process."""
        for sentence in sentences:
            if self.is_new(sentence):
                self.warn(sentence, settings)

    def is_new(self, sentence: str) -> bool:
        """Whether this is the first time that it is to be said."""
        with self._lock:
            if sentence in self._said:
                return False
            self._said.add(sentence)
            return True
