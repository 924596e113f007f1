"""Wires the house together: seam, results, recorder, outbox, delivery and tracking."""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import traceback
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from trackmllib import plural
from trackmllib.afterwards import Afterwards
from trackmllib.clock import Clock, SystemClock
from trackmllib.delivery.worker import Delivery, Target
from trackmllib.earlier import EarlierSearches
from trackmllib.errors import IncompleteRecord
from trackmllib.events import (
    ChildRunNeeded,
    Event,
    Failure,
    SearchFailed,
    SearchFinished,
    SearchStarted,
)
from trackmllib.guard import Guard, attempt
from trackmllib.made_runs import MadeRuns
from trackmllib.models import Models
from trackmllib.operations import CreateChildRun, Destination, Operation
from trackmllib.outbox.estate import Estate
from trackmllib.outbox.home import Home
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.outbox.process import ProcessOutbox
from trackmllib.redaction import redacted
from trackmllib.running import RunningSearch, RunningSearches
from trackmllib.settings import Settings
from trackmllib.signals import TerminationHandler
from trackmllib.spark.candidate_timeout import candidate_timeout
from trackmllib.spark.interventions import those_asked_for
from trackmllib.spark.on_error import on_error
from trackmllib.spark.parallel_folds import parallel_folds
from trackmllib.spark.resuming.take_up import take_up
from trackmllib.spark.seam import Seam
from trackmllib.spark.sharing.reuse import reuse_stages
from trackmllib.stopping import Stopping
from trackmllib.stored_score import EarlierScores
from trackmllib.takeover import take_over
from trackmllib.thread_exit import before_pools_stop
from trackmllib.tracking.active import current_destination, set_last_active_run
from trackmllib.tracking.apply import MlflowTracking
from trackmllib.tracking.calls_of_users import CallsOfUsers, active
from trackmllib.tracking.credentials import Credentials
from trackmllib.tracking.lazy_run import current_place
from trackmllib.tracking.mute import MlflowMute
from trackmllib.tracking.post_training import PostTrainingMetrics
from trackmllib.view.progress import Progress
from trackmllib.view.results import Results
from trackmllib.voice import Voice
from trackmllib.waiting import Waiting

logger = logging.getLogger("trackmllib")

Listener = Callable[[Event], None]


class Session:
    """Recording, from ``start`` to ``stop``. No search is recorded before ``start``.

    ``home`` is where the outbox lies; without one it lives in memory. ``target`` and
    ``destination`` stand for MLflow and can be replaced in tests; listeners are called with each
    event on Spark's threads.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        home: Home | None = None,
        clock: Clock | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        target: Target | None = None,
        destination: Callable[[], Destination] | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.process = os.getpid()
        self.running = False
        # The end of all waits, by the monotonic clock; None until the process ends.
        self._leaves_by: float | None = None
        # How many seconds it waits at most, less those that it has waited.
        self._waits_for = math.inf
        credentials = Credentials()
        self._searches = RunningSearches(
            destination or (lambda: current_destination(credentials.strip))
        )
        self._listeners = tuple(listeners)
        self.voice = Voice(lambda: self.settings)
        self._home = home
        self._outbox = MemoryOutbox() if home is None else ProcessOutbox(home, self._say)
        self._tracking = MlflowTracking(self._problem, self._outbox, credentials)
        self._target = target or self._tracking
        together = self._tracking if target is None else None
        self._delivery = Delivery(
            self._outbox,
            self._target,
            self._missing,
            together=together,
            will_wait=self._searches.will_wait,
        )
        # What others have left has a thread of its own: nobody here waits for their servers.
        self._estate = Estate(self._say)
        heir = MlflowTracking(self._problem, self._estate, credentials)
        self._inheritance = Delivery(self._estate, heir, self._missing)
        self._runs = MadeRuns(self._searches, self._tracking, self._delivery, self.emit, self.clock)
        self._waiting = Waiting(
            self._searches, self._delivery, self._outbox, self.clock, self.voice
        )
        self.afterwards = Afterwards(self._tracking, self._outbox, self._delivery, self.voice)
        self._progress = Progress(self.clock)
        self._stopping = Stopping(self._searches, self._tracking, self.clock)
        self._earlier = EarlierSearches(home, credentials.whole)
        # The outermost first; of those around a cell, the innermost.
        asked_for = those_asked_for(
            parallel_folds, take_up, candidate_timeout, on_error, reuse_stages
        )
        self._seam = Seam(self, new_id, asked_for)
        self._mute = MlflowMute(self._seam.inside_search)
        self._calls = CallsOfUsers()
        self._post_training = PostTrainingMetrics(
            self._tracking.main_run_id, self._wait_for_main_run
        )
        self._termination = TerminationHandler(
            self._terminate, lambda: self._longest_timeout() + 2.0
        )

    def start(self) -> None:
        """Put the patches in, and take over what dead processes have left; again is no change.

        Where nothing is to be recorded unless a Spark conf says so, nothing is taken over.
        """
        self.running = True
        self._mute.install()
        self._calls.install()
        self._seam.install()
        self.voice.once(self._seam.doubts)
        self._termination.install()
        before_pools_stop(self._before_pools_stop)
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)
        if self._home is None or not (self.settings.enabled and self.settings.record):
            return
        if not attempt(self._home.is_empty, True):
            threading.Thread(
                target=self._take_over, name="trackmllib-takeover", daemon=True
            ).start()

    def stop(self) -> None:
        """Take the patches out. What waits in the outbox is still delivered."""
        self.running = False
        self._seam.uninstall()
        self._calls.uninstall()
        self._post_training.uninstall()
        self._mute.uninstall()
        self._termination.uninstall()

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything that this process has recorded is delivered; whether it is.

        False while an operation waits, is deferred or is rejected, or a report is still to be made.
        """
        deadline = None if timeout is None else self.clock.monotonic() + timeout
        unmade = self.afterwards.wait(timeout)
        left = None if deadline is None else max(0.0, deadline - self.clock.monotonic())
        self._delivery.flush(None, left)
        return not any(self._delivery.undelivered()) and unmade == 0

    # What the seam calls, on Spark's threads.

    def emit(self, event: Event, settings: Settings | None = None) -> None:
        if os.getpid() != self.process:
            return
        search = self._take_up(event, settings or self.settings)
        if search is None:
            return
        if isinstance(event, (SearchStarted, SearchFinished, SearchFailed)):
            with self.guard(event.search_id, "showing the progress"):
                self._progress.follow(event, search.result, search.recording, search.settings)
            if not isinstance(event, SearchStarted):
                self._close(search, event)

    def settings_with(self, conf: Mapping[str, str]) -> Settings:
        sentences: list[str] = []
        settings = self.settings.with_conf(conf, sentences.append)
        if settings.registered_model_name is not None and settings.log_models == "none":
            sentences.append('registered_model_name has an effect only with log_models="best".')
        self.voice.once(sentences, settings)
        return settings

    def remember(self, search_id: str, thing: Any) -> None:
        search = self._searches.get(search_id)
        if search is not None and thing is not None:
            self.afterwards.remember(thing, search)

    def returns(self, search_id: str, model: Any) -> None:
        search = self.afterwards.search_of(model)
        if search is None or not self._has_parent_run(search):
            return
        with self.guard(search_id, "registering the model for MLflow's post-training metrics"):
            destination = search.destination
            self._post_training.register(
                model,
                search_id,
                self._tracking.main_run_id(search_id) if destination.owned else destination.run_id,
                is_run_of_user=not destination.owned,
            )

    def tell(self, sentence: str, settings: Settings) -> None:
        self.voice.warn(sentence, settings)

    def say_once(self, sentence: str) -> None:
        self.voice.once([sentence])

    def keep_model(
        self, search_id: str, candidate: int | None, fold: int | None, model: Any, data: Any
    ) -> None:
        search = self._searches.get(search_id)
        if search is None or not search.settings.record or self._target is not self._tracking:
            return
        with search.recording:
            models = search.models = search.models or Models(
                search_id,
                search.settings,
                search.result.description,
                run_id=lambda candidate: self._runs.id_of(search_id, candidate),
                is_here=lambda: self._runs.is_at(search_id, current_place()),
                is_away=lambda: self._delivery.trouble(search_id) is not None,
                problem=lambda reason: self._problem(search_id, reason),
                say=lambda text: self.voice.warn(text, search.settings),
            )
        if candidate is None or fold is None:
            models.keep_best(model, data)
        else:
            models.keep_cell(candidate, fold, model, data)

    @contextmanager
    def hold_interrupt(self, search_id: str) -> Iterator[None]:
        search = self._searches.get(search_id)
        if search is None:
            yield
            return
        with search.interrupt:
            yield
        with self.guard(search_id, "saying what a Ctrl-C has left"):
            if search.interrupt.pressed:
                self.voice.warn(self._waiting.after_interrupt(search), search.settings)

    def active_run(
        self, search_id: str, candidate: Callable[[], int | None], fold: int | None
    ) -> AbstractContextManager[None]:
        if not self._searches.is_recorded(search_id) or self._target is not self._tracking:
            return nullcontext()
        return active(
            lambda: self._runs.find(search_id, candidate(), fold),
            fold,
            lambda place: self._runs.is_at(search_id, place),
            lambda: self.guard(search_id, "making the run of a cell the active one"),
            lambda: self._problem(
                search_id,
                "code inside of the search called mlflow.end_run() for a run of it; the run goes "
                "on, and ends when it is complete",
            ),
        )

    def _take_up(self, event: Event, settings: Settings) -> RunningSearch | None:
        """Record an event; the search that it is about, None if that one has ended."""
        if isinstance(event, SearchStarted):
            event = replace(event, children=settings.children)
            if event.parent is not None:
                outer = self._searches.get(event.parent.search_id)
                if outer is None or (settings.record and not outer.settings.record):
                    # There is no run that it could be nested under.
                    event = replace(event, parent=None)
            if event.parent is not None and settings.record:
                # It is nested under that run.
                self._runs.need(event.parent.search_id, event.parent.candidate)
            self._searches.begin(event, settings)
            if settings.record and self._target is self._tracking:
                self._stopping.watch()
            if settings.record:
                self._delivery.try_again()
                self._inheritance.try_again()
        search = self._searches.get(event.search_id)
        if search is None:
            return None
        with search.recording:
            if search.result.end_ms is not None or search.closed:
                return None
            if isinstance(event, ChildRunNeeded) and event.candidate in search.result.needed:
                # Another cell of this candidate was faster.
                return search
            recorded = False
            try:
                with self.guard(event.search_id, f"recording {type(event).__name__}"):
                    search.result.apply(event)
                    self._put(search, search.recorder.operations(event, search.result), event)
                    recorded = True
                for listener in self._listeners:
                    with self.guard(event.search_id, "telling a listener"):
                        listener(event)
            finally:
                if not recorded and isinstance(event, (SearchFinished, SearchFailed)):
                    ends = search.recorder.abandon(event, search.result, sorted(search.with_runs))
                    self._put(search, ends, event)
        return search

    def _put(self, search: RunningSearch, operations: Iterable[Operation], event: Event) -> None:
        """Put operations into the outbox; where making one of them raises, those before it. Nothing
        of a search that is not recorded.
        """
        if not search.settings.record:
            return
        made: list[Operation] = []
        try:
            made.extend(operations)
        finally:
            self._outbox.put(made, event)
            search.with_runs.update(
                each.candidate
                for each in made
                if isinstance(each, CreateChildRun) and each.candidate is not None
            )
            self._delivery.start()

    def guard(self, search_id: str, doing: str) -> Guard:
        def report(what: str, error: Exception) -> None:
            trace = "".join(traceback.format_exception(error))
            logger.debug("trackmllib failed at %s: %s", what, redacted(trace))
            self._problem(search_id, f"{what} failed: {type(error).__name__}: {error}")

        return Guard(doing, report, strict=self.settings.strict)

    def earlier(self, search_id: str, family: str, keys: Collection[str]) -> EarlierScores:
        search = self._searches.get(search_id)
        if search is None or not self._looks_back(search.settings):
            return EarlierScores()
        return self._earlier.scores(family, keys, search.destination, search.settings.flush_timeout)

    def seeds(self, family: str, settings: Settings) -> Mapping[str, int]:
        if not self._looks_back(settings):
            return {}
        named = os.environ.get("MLFLOW_RUN_ID")
        destination = self._searches.destination()
        if named is not None:
            # Taken out of the environment by who uses it, which the search itself will be.
            os.environ["MLFLOW_RUN_ID"] = named
        return self._earlier.seeds(family, destination, settings.flush_timeout)

    def stop_asked(self, search_id: str) -> bool:
        search = self._searches.get(search_id)
        return search is not None and search.stop_asked

    def results(self, thing: Any) -> Results | None:
        return self.afterwards.results(thing)

    def _looks_back(self, settings: Settings) -> bool:
        return settings.record and self._target is self._tracking

    def _has_parent_run(self, search: RunningSearch) -> bool:
        """Whether a search has a parent run of its own in MLflow, and is not nested."""
        return self._looks_back(search.settings) and search.result.parent is None

    def _wait_for_main_run(self, search_id: str) -> str | None:
        if os.getpid() != self.process:
            return None
        return self._runs.find(search_id, None, None).run_id

    # What the delivery thread calls.

    def _missing(self, operation: Operation, error: Exception) -> None:
        logger.debug("Rejected or deferred: %s", error)
        self._problem(operation.search_id, str(error))

    # The end of a search, and of the process.

    def _close(self, search: RunningSearch, end: SearchFinished | SearchFailed) -> None:
        """Wait for the delivery, unless the search was interrupted, and say what is missing."""
        search_id = search.result.search_id
        try:
            if not (isinstance(end, SearchFailed) and end.failure.in_a_hurry):
                if text := search.won_with_nan():
                    self.voice.warn(text, search.settings)
                waits = search.settings.wait and search.settings.record
                if waits and search.result.parent is None:
                    self._waiting.wait_for(search)
            text = search.missing()
            if text and self.settings.strict:
                raise IncompleteRecord(text)
            if text:
                self.voice.warn(text, search.settings)
        finally:
            search.closed = True
            with self.guard(search_id, "setting MLflow's last active run"):
                if self._has_parent_run(search) and search.destination.owned:
                    set_last_active_run(self._tracking.main_run_id(search_id))
            with self.guard(search_id, "having the report made"):
                self.afterwards.report(search, end)
            self._forget_delivered()

    def _forget_delivered(self) -> None:
        for search in self._searches.all():
            search_id = search.result.search_id
            over = search.closed and not self._outbox.waiting(search_id)
            if over and self.afterwards.keep_runs(search):
                self._searches.forget(search_id)
                self._target.forget(search_id)

    def _take_over(self) -> None:
        """Take over what processes have left that died; in a thread of its own."""
        assert self._home is not None
        with Guard("taking over what was left behind", self._not_taken_over):
            take_over(self._home, self._estate, self._say)
            self._inheritance.start()

    def _not_taken_over(self, doing: str, error: Exception) -> None:
        self._say(f"{doing} failed: {error}. It stays on disk; `trackmllib sync` tries again")

    def _before_pools_stop(self) -> None:
        """Deliver what waits while artifact stores still accept uploads.

        Does nothing while a search runs, in a thread that Python waits for afterwards. An artifact
        that can no longer be uploaded then stays on disk.
        """
        running = any(not search.closed for search in self._searches.all())
        if os.getpid() == self.process and not running:
            self.afterwards.wait(self._time_to_leave() / 2)
            self._delivery.flush(None, self._time_to_leave())
            # Threads of the user's may go on for hours, and begin searches: only the wait counts.
            self._waits_for = self._time_to_leave()
            self._leaves_by = None

    def _at_exit(self) -> None:
        """End what still runs in threads that die with the process, and send what waits."""
        if os.getpid() == self.process:
            self._leave("the process ended while the search was running", killed=False)

    def _terminate(self) -> None:
        self._leave("the process was ended by SIGTERM", killed=True)

    def _end_open(self, message: str, *, killed: bool) -> None:
        """End the searches that are open. ``killed``: nobody else will end the user's run."""
        failure = Failure(type="SystemExit", message=message, traceback=message, interrupted=True)
        for search in self._searches.all():
            search_id = search.result.search_id
            event = SearchFailed(search_id=search_id, time_ms=self.clock.now_ms(), failure=failure)
            if not killed:
                self.emit(event)
                continue
            with self.guard(search_id, "ending the search"), search.recording:
                if search.result.end_ms is None:
                    search.result.apply(event)
                    ended = search.recorder.process_ended(event, search.result)
                    self._put(search, ended, event)

    def _leave(self, message: str, *, killed: bool) -> None:
        """Send what waits of this process's searches, and say where the rest is."""
        self._end_open(message, killed=killed)
        self.afterwards.leave(0.0 if killed else self._time_to_leave() / 2)
        waiting = self._delivery.flush(None, self._time_to_leave())
        if not isinstance(self._outbox, ProcessOutbox) or not self._outbox.is_on_disk():
            # No other process can deliver what only this one has.
            waiting += self._delivery.undelivered().deferred
        stopped = self._delivery.stop()
        if waiting and not isinstance(self._outbox, ProcessOutbox):
            self.voice.warn(
                f"{plural.count(waiting, 'operation')} did not reach the tracking server before "
                "the process ended, and cannot be sent any more."
            )
        elif waiting:
            self.voice.warn(
                f"{plural.count(waiting, 'operation')} did not reach the tracking server before "
                "the process ended "
                f"({self._delivery.trouble() or 'there was no time for more'}). "
                f"{self._waiting.what_remains()}"
            )
        if stopped and isinstance(self._outbox, ProcessOutbox):
            self._outbox.release()
        if self._inheritance.stop():
            self._estate.release()

    def _time_to_leave(self) -> float:
        """The seconds left of the flush timeout, which all waits at the end share."""
        now = self.clock.monotonic()
        if self._leaves_by is None:
            self._leaves_by = now + min(self._waits_for, self._longest_timeout())
        return max(0.0, self._leaves_by - now)

    def _longest_timeout(self) -> float:
        """That of all searches, or a longer one of a search that is not delivered."""
        of_searches = [search.settings.flush_timeout for search in self._searches.all()]
        return max([self.settings.flush_timeout, *of_searches])

    # Warnings.

    def _say(self, sentence: str) -> None:
        """Warn of something that is no matter of one search."""
        self.voice.warn(f"{sentence}.")

    def _problem(self, search_id: str, reason: str) -> None:
        """Keep what went wrong for the one warning of the search, or say it if that is late."""
        search = self._searches.get(search_id)
        # One that is not running was taken over, or is long gone.
        is_new = self.voice.is_new(reason) if search is None else search.add_problem(reason)
        if is_new and (search is None or search.closed):
            settings = None if search is None else search.settings
            self.voice.warn(f"{reason}. The training is not affected.", settings)
