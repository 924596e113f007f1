"""Callbacks that ``spark.instrumentation`` calls on Spark's threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import Dataset, MlflowRecord
from trackmllib.domain.events import Event, SearchFailed, SearchFinished, SearchStarted
from trackmllib.domain.score_tags import PriorScores
from trackmllib.domain.search_state import SearchState
from trackmllib.outbox.relay import Relay
from trackmllib.reporting.progress.display import Progress
from trackmllib.reporting.results import Results
from trackmllib.runtime import mlflow_record
from trackmllib.runtime.active_searches import ActiveSearch, ActiveSearches
from trackmllib.runtime.event_pipeline import EventPipeline
from trackmllib.runtime.flush import FlushWait
from trackmllib.runtime.model_logging import ModelLogger, is_on_connect
from trackmllib.runtime.post_training import PostTrainingMetrics
from trackmllib.runtime.prior_scores import PriorSearches
from trackmllib.runtime.problems import Problems
from trackmllib.runtime.results_registry import ResultsRegistry
from trackmllib.runtime.run_resolver import RunResolver
from trackmllib.runtime.search_completion import SearchCompletion
from trackmllib.runtime.stop_poller import StopPoller
from trackmllib.runtime.user_warnings import UserWarnings
from trackmllib.support import formatting
from trackmllib.support.clock import Clock
from trackmllib.support.guard import Guard
from trackmllib.tracking import mlflow_autologging


@dataclass(kw_only=True)
class SearchCallbacks:
    """Implementation of ``Callbacks``.

    ``relays`` are those of this process's outbox and of recovered outboxes.
    """

    clock: Clock
    current_settings: Callable[[], Settings]
    searches: ActiveSearches
    pipeline: EventPipeline
    progress: Progress
    completion: SearchCompletion
    relays: Sequence[Relay]
    stop_poller: StopPoller
    flush_wait: FlushWait
    runs: RunResolver
    models: ModelLogger
    prior_searches: PriorSearches
    results_registry: ResultsRegistry
    post_training: PostTrainingMetrics
    problems: Problems
    user_warnings: UserWarnings
    _process: int = field(init=False, default_factory=os.getpid)

    @property
    def settings(self) -> Settings:
        return self.current_settings()

    def emit(self, event: Event, settings: Settings | None = None) -> None:
        if os.getpid() != self._process:
            return
        search = self.pipeline.record(event, settings or self.settings)
        if search is None:
            return
        if isinstance(event, SearchStarted):
            self._show_progress(event, search)
            self._start_background_work(search)
        elif isinstance(event, (SearchFinished, SearchFailed)):
            self._show_progress(event, search)
            self.completion.complete(search, event)

    def state(self, search_id: str) -> SearchState | None:
        search = self.searches.get(search_id)
        return None if search is None else search.state

    def guard(self, search_id: str, doing: str) -> Guard:
        return self.problems.guard(search_id, doing)

    def mlflow_dataset(self, data: Any, settings: Settings) -> Dataset | None:
        if settings.log_datasets and self._is_logged_by_mlflow(data, settings):
            with self.guard("", "describing the data as MLflow does"):
                return mlflow_autologging.describe_dataset(data)
        return None

    def mlflow_record(self, tuner: Any, data: Any, settings: Settings) -> MlflowRecord | None:
        if not self._is_logged_by_mlflow(data, settings):
            return None
        try:
            return mlflow_record.record_of(tuner, settings.redaction.hides)
        except Exception as error:  # noqa: BLE001 - MLflow's, about the tuner
            self.user_warnings.warn(
                "MLflow's autologging cannot describe this search, so its record lacks the params, "
                f"tags and files that only MLflow logs ({formatting.error_summary(error)}). The "
                "training is not affected.",
                settings,
            )
            return MlflowRecord(run_tags=mlflow_record.run_tags())

    def search_settings(self, conf: Mapping[str, str]) -> Settings:
        warnings: list[str] = []
        settings = self.settings.with_conf(conf, warnings.append)
        if settings.registered_model_name is not None and settings.log_models == "none":
            warnings.append(
                "registered_model_name has no effect, because no model is logged; set "
                'log_models="best".'
            )
        self.user_warnings.warn_once(warnings, settings)
        return settings

    def warn(self, text: str, settings: Settings) -> None:
        self.user_warnings.warn(text, settings)

    def warn_once(self, text: str) -> None:
        self.user_warnings.warn_once([text])

    def register(self, search_id: str, tuner_or_model: Any) -> None:
        search = self.searches.get(search_id)
        if search is not None and tuner_or_model is not None:
            self.results_registry.register(tuner_or_model, search)

    def results(self, tuner_or_model: Any) -> Results | None:
        return self.results_registry.results(tuner_or_model)

    def model_returned(self, search_id: str, model: Any) -> None:
        search = self.results_registry.search_of(model)
        if search is None or search.is_nested:
            return
        if not self.searches.records_in_mlflow(search.settings):
            return
        with self.guard(search_id, "watching the model for post-training metrics"):
            self.post_training.watch(search, model)

    def log_model(
        self, search_id: str, candidate: int | None, fold: int | None, model: Any, data: Any
    ) -> None:
        if fold is None:
            self.models.log_best(search_id, candidate, model, data)
        elif candidate is not None:
            self.models.log_fit(search_id, candidate, fold, model, data)

    @contextmanager
    def defer_interrupt(self, search_id: str) -> Iterator[None]:
        search = self.searches.get(search_id)
        if search is None:
            yield
            return
        with self.flush_wait.defer_interrupt(search):
            yield

    def active_run(
        self, search_id: str, candidate: Callable[[], int | None], fold: int | None
    ) -> AbstractContextManager[None]:
        return self.runs.active_run(search_id, candidate, fold)

    def prior_scores(
        self, search_id: str, family: str, keys: Collection[str], metrics: Mapping[str, str]
    ) -> PriorScores:
        search = self.searches.get(search_id)
        if search is None or not self.searches.is_in_mlflow(search_id):
            return PriorScores()
        timeout = search.settings.flush_timeout
        return self.prior_searches.scores(family, keys, metrics, search.destination, timeout)

    def prior_seeds(self, family: str, settings: Settings) -> Mapping[str, int]:
        if not self.searches.records_in_mlflow(settings):
            return {}
        destination = self.searches.next_destination(settings.exclusive)
        return self.prior_searches.seeds(family, destination, settings.flush_timeout)

    def stop_requested(self, search_id: str) -> bool:
        search = self.searches.get(search_id)
        return search is not None and search.stop_requested

    def _is_logged_by_mlflow(self, data: Any, settings: Settings) -> bool:
        """Whether the record includes everything that MLflow would log."""
        return (
            settings.from_mlflow
            and self.searches.records_in_mlflow(settings)
            and not is_on_connect(data)
            and not mlflow_autologging.ignores_fits()
        )

    def _start_background_work(self, search: ActiveSearch) -> None:
        if search.settings.record:
            for relay in self.relays:
                # The process may have new credentials.
                relay.retry_unauthorized()
        if self.searches.is_in_mlflow(search.search_id):
            self.stop_poller.start()

    def _show_progress(self, event: Event, search: ActiveSearch) -> None:
        with self.guard(event.search_id, "showing the progress"):
            self.progress.follow(event, search.state, search.lock, search.settings)
