"""Interface of the runtime that the instrumentation calls."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import Dataset, MlflowRecord
from trackmllib.domain.events import Event
from trackmllib.domain.score_tags import PriorScores
from trackmllib.domain.search_state import SearchState
from trackmllib.support.clock import Clock
from trackmllib.support.guard import Guard


class Callbacks(Protocol):
    """Interface of the runtime, called on Spark's threads."""

    clock: Clock

    @property
    def settings(self) -> Settings:
        """Settings of this session."""
        ...

    def emit(self, event: Event, settings: Settings | None = None) -> None:
        """Record an event; one at a time for each search.

        The last event of a search may wait for delivery.

        :param settings: Settings of the search, with its first event.
        """
        ...

    def state(self, search_id: str) -> SearchState | None:
        """State built by the events of a running search; None otherwise."""
        ...

    def guard(self, search_id: str, doing: str) -> Guard:
        """Context in which an error of ours is reported instead of raised."""
        ...

    def mlflow_dataset(self, data: Any, settings: Settings) -> Dataset | None:
        """Describe the data as MLflow's autologging does, with a Spark job.

        :returns: None if MLflow would not log the data, or has not switched recording on.
        """
        ...

    def mlflow_record(self, tuner: Any, data: Any, settings: Settings) -> MlflowRecord | None:
        """Collect what MLflow's autologging would log for a search.

        :param tuner: A copy, because MLflow sets an attribute.
        :returns: None if MLflow would log nothing, or has not switched recording on.
        """
        ...

    def search_settings(self, conf: Mapping[str, str]) -> Settings:
        """Settings of a search whose Spark conf has these values for our keys."""
        ...

    def warn_once(self, sentence: str) -> None:
        """Show a one-line warning, once in this process."""
        ...

    def warn(self, sentence: str, settings: Settings) -> None:
        """Show a one-line warning about a search with these settings."""
        ...

    def register(self, search_id: str, thing: Any) -> None:
        """Map a tuner or a model to its search, for ``results()``."""
        ...

    def model_returned(self, search_id: str, model: Any) -> None:
        """Watch the model that ``fit()`` returns; called before the last event."""
        ...

    def prior_scores(
        self, search_id: str, family: str, keys: Collection[str], metrics: Mapping[str, str]
    ) -> PriorScores:
        """Look up scores of prior searches; waits up to the flush timeout.

        If a key is missing, the result also contains some scores with other keys.
        """
        ...

    def prior_seeds(self, family: str, settings: Settings) -> Mapping[str, int]:
        """Look up unset seeds of a prior search; waits up to the flush timeout."""
        ...

    def stop_requested(self, search_id: str) -> bool:
        """Whether a search is to stop; sends no request."""
        ...

    def results(self, thing: Any) -> Any:
        """Results of a tuner's last search; None if there is none."""
        ...

    def log_model(
        self, search_id: str, candidate: int | None, fold: int | None, model: Any, data: Any
    ) -> None:
        """Log the model of a fit, or the tuner's model if ``fold`` is None.

        :param candidate: None if it is not known which candidate won.
        """
        ...

    def defer_interrupt(self, search_id: str) -> AbstractContextManager[object]:
        """Context in which the first Ctrl-C ends our wait instead of being raised.

        Lasts from Spark's return to the end of ``fit()``.
        """
        ...

    def active_run(
        self, search_id: str, candidate: Callable[[], int | None], fold: int | None
    ) -> AbstractContextManager[None]:
        """Context in which a candidate's run is this thread's active run.

        While ``candidate`` returns None, the parent run is active.
        """
        ...
