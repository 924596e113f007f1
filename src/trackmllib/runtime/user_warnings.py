"""Warnings for users, through the logger ``trackmllib``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from trackmllib.config.settings import Settings

logger = logging.getLogger("trackmllib")


class UserWarnings:
    """Warnings for users, at level DEBUG if ``silent``.

    :param current_settings: Returns the settings for warnings that belong to no search.
    """

    def __init__(self, current_settings: Callable[[], Settings]) -> None:
        self._current_settings = current_settings
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def warn(self, text: str, settings: Settings | None = None) -> None:
        silent = (settings or self._current_settings()).silent
        logger.log(logging.DEBUG if silent else logging.WARNING, "%s", text)

    def warn_once(self, texts: Iterable[str], settings: Settings | None = None) -> None:
        """Log each warning that is new in this process."""
        for text in texts:
            if self.is_new(text):
                self.warn(text, settings)

    def is_new(self, text: str) -> bool:
        """Whether this text is new; True only once per text."""
        with self._lock:
            if text in self._seen:
                return False
            self._seen.add(text)
            return True
