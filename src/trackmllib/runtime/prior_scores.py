"""Scores and seeds of prior searches, on this machine and on a server.

Outboxes are read before the server, so that operations delivered meanwhile are not missed.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Collection, Iterator, Mapping

from trackmllib.domain import score_tags
from trackmllib.domain.operations import Destination, LogBatch
from trackmllib.domain.score_tags import RESUMABLE, SEEDS, PriorScores, StoredScore
from trackmllib.exceptions import TrackmllibError
from trackmllib.history.run_reader import RunReader, StoredRun
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.pending import batches
from trackmllib.support import formatting, json_validation
from trackmllib.support.json_validation import InvalidValue
from trackmllib.tracking.workspace import in_workspace

# Maximum number of runs to read, those of twenty large searches.
MAX_RUNS = 20_000
# Maximum number of scores with other keys, which explain why none is reused.
MAX_OTHERS = 5_000
# A Java long.
_SEED = json_validation.integer(-(2**63), 2**63 - 1)


class PriorSearches:
    """Prior searches on this machine and on a tracking server.

    :param directory: The outboxes of this machine; None for none.
    :param full_uri: Adds the credentials to a tracking URI without them.
    """

    def __init__(self, directory: OutboxDirectory | None, full_uri: Callable[[str], str]) -> None:
        self._directory = directory
        self._full_uri = full_uri

    def scores(
        self,
        family: str,
        keys: Collection[str],
        metrics: Mapping[str, str],
        destination: Destination,
        timeout: float,
    ) -> PriorScores:
        """Find the scores with these keys.

        :param metrics: Fingerprints of the further metrics that each score must have, by name.
        :param timeout: Longest wait for the server, in seconds.
        :returns: The scores found; ``read_error`` has an error instead of raising it.
        """
        collector = _ScoreCollector(keys, metrics)
        for batch in self._batches(score_tags.TAG):
            collector.add(dict(batch.tags), batch.search_id, None)

        def read() -> None:
            for number, run in enumerate(self._runs(family, destination)):
                collector.add(run.tags, run.tags.get("trackmllib.search_id", ""), run.run_id)
                if collector.is_complete():
                    return
                if number == MAX_RUNS:
                    raise TrackmllibError(f"there are more than {MAX_RUNS:,} runs of this pipeline")

        read_error = "" if collector.is_complete() else _read_in_time(read, destination, timeout)
        return collector.scores(read_error)

    def seeds(self, family: str, destination: Destination, timeout: float) -> dict[str, int]:
        """Find the unset seeds of the newest search of a family."""
        newest: list[Mapping[str, str]] = []
        for batch in self._batches(SEEDS):
            tags = dict(batch.tags)
            if tags.get(RESUMABLE) == family:
                newest.append(tags)

        def read() -> None:
            for run in self._runs(family, destination, f" AND tags.`{SEEDS}` != '-'"):
                newest.append(run.tags)
                return

        # A search in an outbox is newer than those on the server.
        if not newest:
            _read_in_time(read, destination, timeout)
        if not newest:
            return {}
        try:
            return json_validation.mapping_of(_SEED)(json_validation.parse(newest[-1][SEEDS]))
        except InvalidValue:
            return {}

    def _batches(self, tag: str) -> Iterator[LogBatch]:
        return iter(()) if self._directory is None else batches(self._directory, tag)

    def _runs(
        self, family: str, destination: Destination, condition: str = ""
    ) -> Iterator[StoredRun]:
        reader = RunReader(self._full_uri(destination.tracking_uri))
        experiments = _experiments(reader, destination)
        return reader.search(f"tags.`{RESUMABLE}` = '{family}'{condition}", experiments)


class _ScoreCollector:
    """Collects scores, newest first, and keeps the newest per key."""

    def __init__(self, keys: Collection[str], metrics: Mapping[str, str]) -> None:
        self._keys = set(keys)
        self._metrics = metrics
        self._wanted: dict[str, StoredScore] = {}
        self._others: dict[str, StoredScore] = {}
        self._unreadable = 0
        self._lock = threading.Lock()

    def add(self, tags: Mapping[str, str], search_id: str, run_id: str | None) -> None:
        for name, text in tags.items():
            if not score_tags.is_tag(name):
                continue
            try:
                score = score_tags.read(text, search_id, run_id)
            except ValueError:
                with self._lock:
                    self._unreadable += 1
                continue
            with self._lock:
                if score.key in self._keys and score.has_metrics(self._metrics):
                    self._wanted.setdefault(score.key, score)
                elif len(self._others) < MAX_OTHERS:
                    self._others.setdefault(score.key, score)

    def is_complete(self) -> bool:
        return len(self._wanted) == len(self._keys)

    def scores(self, read_error: str) -> PriorScores:
        with self._lock:
            return PriorScores(
                wanted=dict(self._wanted),
                others=dict(self._others),
                unreadable=self._unreadable,
                read_error=read_error,
            )


def _experiments(reader: RunReader, destination: Destination) -> list[str]:
    """Ids of the existing experiments of a destination."""
    if destination.experiment_id is not None:
        return [destination.experiment_id]
    if destination.run_id is not None:
        return [reader.get(destination.run_id).experiment_id]
    wanted = destination.experiment_name or "Default"
    return [each for each, name in reader.experiments().items() if name == wanted]


def _read_in_time(read: Callable[[], None], destination: Destination, timeout: float) -> str:
    """Call ``read`` in another thread, because this is one of Spark's.

    :returns: Why ``read`` did not finish; empty if it did.
    """
    outcome: list[str] = []

    def run() -> None:
        try:
            with in_workspace(destination.workspace):
                read()
            outcome.append("")
        except TrackmllibError as error:
            outcome.append(str(error))
        except Exception as error:  # noqa: BLE001 - a server or a store may raise anything
            outcome.append(formatting.error_summary(error))

    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(run,), name="trackmllib-prior-scores", daemon=True
    )
    thread.start()
    thread.join(timeout)
    return outcome[0] if outcome else f"the tracking server took longer than {timeout:g} s"
