"""Reasons why the record of a search is incomplete."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

from trackmllib.config.settings import Settings
from trackmllib.domain.operations import Operation
from trackmllib.runtime.active_searches import ActiveSearches
from trackmllib.runtime.user_warnings import UserWarnings
from trackmllib.support.guard import Guard
from trackmllib.support.redaction import redacted

logger = logging.getLogger("trackmllib")


class Problems:
    """Collects problems by search, for one warning at the end of ``fit()``."""

    def __init__(
        self,
        searches: ActiveSearches,
        user_warnings: UserWarnings,
        current_settings: Callable[[], Settings],
    ) -> None:
        self._searches = searches
        self._user_warnings = user_warnings
        self._current_settings = current_settings

    def add(self, search_id: str, reason: str) -> None:
        """Add a problem to its search; warn now if the search has ended."""
        search = self._searches.get(search_id)
        # None: the search was recovered, or is delivered.
        is_new = (
            self._user_warnings.is_new(reason) if search is None else search.add_problem(reason)
        )
        if is_new and (search is None or search.closed):
            settings = None if search is None else search.settings
            self._user_warnings.warn(f"{reason}. The training is not affected.", settings)

    def add_undelivered(self, operation: Operation, error: Exception) -> None:
        """Add an operation that was rejected or deferred."""
        logger.debug("Rejected or deferred: %s", error)
        self.add(operation.search_id, str(error))

    def guard(self, search_id: str, doing: str) -> Guard:
        """Context that adds errors as problems; strict mode raises them.

        :param doing: What the context does: "recording FitScored".
        """

        def report(doing: str, error: Exception) -> None:
            trace = "".join(traceback.format_exception(error))
            logger.debug("trackmllib failed at %s: %s", doing, redacted(trace))
            self.add(search_id, f"{doing} failed: {type(error).__name__}: {error}")

        return Guard(doing, report, strict=self._current_settings().strict)
