"""What the seam and its watches need of the house around them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from trackmllib.clock import Clock
from trackmllib.events import Event
from trackmllib.guard import Guard
from trackmllib.settings import Settings
from trackmllib.stored_score import EarlierScores


class Host(Protocol):
    """What a watch needs of the house around it."""

    clock: Clock
    settings: Settings

    def emit(self, event: Event, settings: Settings | None = None) -> None:
        """Take up a fact. Called on Spark's threads, never by two at once for one search; the end
        of a search may wait here. ``settings`` are those of a search that starts.
        """
        ...

    def guard(self, search_id: str, doing: str) -> Guard:
        """A context in which an error of ours is reported and not raised."""
        ...

    def settings_with(self, conf: Mapping[str, str]) -> Settings:
        """The settings of a search, where our keys of the Spark conf have these values."""
        ...

    def say_once(self, sentence: str) -> None:
        """Tell the user something that is no matter of one search."""
        ...

    def tell(self, sentence: str, settings: Settings) -> None:
        """Tell the user something of one search, with these settings."""
        ...

    def remember(self, search_id: str, thing: Any) -> None:
        """The tuner or the model of a search, by which users may ask for its results."""
        ...

    def returns(self, search_id: str, model: Any) -> None:
        """Report the model that ``fit()`` is about to return, after the end of its search."""
        ...

    def earlier(self, search_id: str, family: str, keys: Collection[str]) -> EarlierScores:
        """The scores of earlier searches of this family with these keys; where not all are found,
        some others too. Waits for a server, no longer than the flush timeout.
        """
        ...

    def seeds(self, family: str, settings: Settings) -> Mapping[str, int]:
        """The seeds that the newest search of this family had without anybody setting them. Waits
        as ``earlier`` does.
        """
        ...

    def stop_asked(self, search_id: str) -> bool:
        """Whether somebody has asked for the end of a search. Asks no server."""
        ...

    def results(self, thing: Any) -> Any:
        """The results of the search of a tuner, as users get them; None if it is not known."""
        ...

    def keep_model(
        self, search_id: str, candidate: int | None, fold: int | None, model: Any, data: Any
    ) -> None:
        """Log a model: of a cell, or of the winner. Called where the settings ask for it."""
        ...

    def hold_interrupt(self, search_id: str) -> AbstractContextManager[object]:
        """Context from Spark's return to the end of ``fit()``, for the first Ctrl-C.

        In it, the first Ctrl-C ends our wait instead of being raised.
        """
        ...

    def active_run(
        self, search_id: str, candidate: Callable[[], int | None], fold: int | None
    ) -> AbstractContextManager[None]:
        """A context in which MLflow's active run of this thread is the one of a candidate, as soon
        as that is known, or the main run of the search.
        """
        ...
