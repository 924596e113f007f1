"""Session of a process, which wires the parts of the runtime."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable

from trackmllib.config.settings import Settings
from trackmllib.domain.operations import Destination
from trackmllib.outbox.base import Outbox
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.orphaned import OrphanedOutbox
from trackmllib.outbox.process import ProcessOutbox
from trackmllib.outbox.relay import Relay
from trackmllib.outbox.target import Target
from trackmllib.reporting.progress.display import Progress
from trackmllib.runtime.active_searches import ActiveSearches
from trackmllib.runtime.event_pipeline import EventPipeline, Listener
from trackmllib.runtime.flush import FlushWait
from trackmllib.runtime.late_operations import LateOperations
from trackmllib.runtime.model_logging import ModelLogger
from trackmllib.runtime.post_training import PostTrainingMetrics
from trackmllib.runtime.prior_scores import PriorSearches
from trackmllib.runtime.problems import Problems
from trackmllib.runtime.process_exit import ProcessExit
from trackmllib.runtime.recovery import BackgroundRecovery
from trackmllib.runtime.results_registry import ResultsRegistry
from trackmllib.runtime.run_resolver import RunResolver
from trackmllib.runtime.search_callbacks import SearchCallbacks
from trackmllib.runtime.search_completion import SearchCompletion
from trackmllib.runtime.search_reports import SearchReports
from trackmllib.runtime.stop_poller import StopPoller
from trackmllib.runtime.user_warnings import UserWarnings
from trackmllib.spark.instrumentation.post_training import PostTrainingInstrumentation
from trackmllib.spark.instrumentation.tuners import TunerInstrumentation
from trackmllib.support.clock import Clock, SystemClock
from trackmllib.tracking.active_run import current_destination
from trackmllib.tracking.credentials import Credentials
from trackmllib.tracking.executor import MlflowExecutor
from trackmllib.tracking.mlflow_autologging import AutologgingSuppressor
from trackmllib.tracking.user_calls import UserCallPatches


class Session:
    """Records searches from ``start`` to ``stop``.

    :param settings: Settings of ``autolog()``, which may be replaced at any time.
    :param directory: Directory of the outbox; None keeps it in memory.
    :param target: Replaces MLflow, for tests.
    :param destination: Returns the destination of a search; replaces MLflow's active run and
        experiment, for tests.
    :param listeners: Called with each event, on Spark's threads.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        directory: OutboxDirectory | None = None,
        clock: Clock | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        target: Target | None = None,
        destination: Callable[[], Destination] | None = None,
        listeners: Iterable[Listener] = (),
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.process = os.getpid()
        self.is_running = False
        self.directory = directory
        self.listeners = list(listeners)

        credentials = Credentials()
        self.user_warnings = UserWarnings(self._current_settings)

        def destination_of(*, claim: bool) -> Callable[[bool], Destination]:
            if destination is not None:
                return lambda exclusive: destination()
            return lambda exclusive: current_destination(
                credentials.strip, claim=claim, exclusive=exclusive
            )

        self.searches = ActiveSearches(
            destination_of(claim=True),
            next_destination=destination_of(claim=False),
            uses_mlflow=target is None,
        )
        problems = Problems(self.searches, self.user_warnings, self._current_settings)

        def warn(text: str) -> None:
            self.user_warnings.warn(f"{text}.")

        def new_recovery_relay(orphaned: OrphanedOutbox) -> Relay:
            executor = MlflowExecutor(problems.add, orphaned, credentials)
            return Relay(orphaned, executor, problems.add_undelivered)

        self.outbox: Outbox = (
            MemoryOutbox() if directory is None else ProcessOutbox(directory, warn)
        )
        self.executor = MlflowExecutor(problems.add, self.outbox, credentials)
        self.relay = Relay(
            self.outbox,
            target or self.executor,
            problems.add_undelivered,
            transactional=self.executor if target is None else None,
            flush_expected=self.searches.will_wait,
        )
        self.recovery = BackgroundRecovery(directory, new_recovery_relay, warn)

        pipeline = EventPipeline(
            self.searches, self.outbox, self.relay, problems, self.clock, self.listeners
        )
        runs = RunResolver(self.searches, self.executor, self.relay, pipeline, problems)
        flush_wait = FlushWait(
            self.searches, self.outbox, self.relay, problems, self.user_warnings, self.clock
        )
        self.results_registry = ResultsRegistry(self.executor)
        late_operations = LateOperations(
            self.executor, self.outbox, self.relay, self.results_registry
        )
        self.reports = SearchReports(
            self.outbox, self.relay, self.results_registry, late_operations, self.user_warnings
        )
        self._post_training = PostTrainingMetrics(
            PostTrainingInstrumentation(lambda: self.instrumentation.inside_any_search()),
            late_operations,
            problems,
            self.clock,
        )
        completion = SearchCompletion(
            searches=self.searches,
            outbox=self.outbox,
            target=target or self.executor,
            executor=self.executor,
            flush_wait=flush_wait,
            results_registry=self.results_registry,
            reports=self.reports,
            post_training=self._post_training,
            problems=problems,
            user_warnings=self.user_warnings,
            current_settings=self._current_settings,
        )
        self.callbacks = SearchCallbacks(
            clock=self.clock,
            current_settings=self._current_settings,
            searches=self.searches,
            pipeline=pipeline,
            progress=Progress(self.clock),
            completion=completion,
            relays=(self.relay, self.recovery.relay),
            stop_poller=StopPoller(self.searches, self.executor, self.clock),
            flush_wait=flush_wait,
            runs=runs,
            models=ModelLogger(
                self.searches,
                runs,
                self.relay,
                pipeline,
                self.clock,
                problems,
                self.user_warnings,
            ),
            prior_searches=PriorSearches(directory, credentials.full_uri),
            results_registry=self.results_registry,
            post_training=self._post_training,
            problems=problems,
            user_warnings=self.user_warnings,
        )
        self.instrumentation = TunerInstrumentation(self.callbacks, new_id)
        self.process_exit = ProcessExit(
            searches=self.searches,
            pipeline=pipeline,
            emit=self.callbacks.emit,
            outbox=self.outbox,
            relay=self.relay,
            recovery=self.recovery,
            reports=self.reports,
            flush_wait=flush_wait,
            user_warnings=self.user_warnings,
            clock=self.clock,
            current_settings=self._current_settings,
        )
        self._suppressor = AutologgingSuppressor(self.instrumentation.inside_search)
        self._user_call_patches = UserCallPatches()

    def start(self) -> None:
        """Install the patches, and recover the records of dead processes.

        Idempotent. Does not recover while recording is off.
        """
        self.is_running = True
        self._suppressor.install()
        self._user_call_patches.install()
        self.instrumentation.install()
        self._post_training.start(self.settings)
        self.user_warnings.warn_once(self.instrumentation.warnings)
        self.process_exit.install()
        if self.settings.enabled and self.settings.record:
            self.recovery.start()

    def stop(self) -> None:
        """Remove the patches; the outbox is still delivered."""
        self.is_running = False
        self.instrumentation.uninstall()
        self._user_call_patches.uninstall()
        self._post_training.stop()
        self._suppressor.uninstall()
        self.process_exit.uninstall()

    def flush(self, timeout: float | None) -> bool:
        """Wait until all records and reports of this process are delivered.

        :param timeout: Longest wait in seconds; None for no limit.
        :returns: Whether everything was delivered.
        """
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        missing_reports = self.reports.wait(timeout)
        rest = None if deadline is None else max(0.0, deadline - self.clock.monotonic())
        self.relay.flush(None, rest)
        return not any(self.relay.undelivered()) and missing_reports == 0

    def _current_settings(self) -> Settings:
        return self.settings
