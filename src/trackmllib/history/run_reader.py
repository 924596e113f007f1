"""Reader of runs, metrics and files on a tracking server."""

from __future__ import annotations

import contextvars
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mlflow.entities import ViewType

from trackmllib.exceptions import UnknownSearch
from trackmllib.history.connection import connect, translated_errors
from trackmllib.support.redaction import redacted, strip_credentials
from trackmllib.tracking import artifacts, conflicts
from trackmllib.tracking.client import CANDIDATE, SEARCH_ID, search_ids
from trackmllib.tracking.parent_run import FOLDER

T = TypeVar("T", str, float)

PAGE = 1000
# The most experiments that Databricks accepts in one request.
EXPERIMENTS_PER_REQUEST = 100
THREADS = 8

# Only parent runs have the param ``candidates``, ours or the user's. This condition keeps a server
# from reading the tags of millions of child runs.
IS_PARENT_RUN = f"params.candidates != '-' AND tags.`{SEARCH_ID}` != '-'"
NEWEST_FIRST = ["attributes.start_time DESC"]


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run on a tracking server; times in milliseconds since the epoch."""

    run_id: str
    name: str
    experiment_id: str
    status: str
    start_ms: int
    end_ms: int | None
    artifact_uri: str
    deleted: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def search_ids(self) -> list[str]:
        """Ids of the searches whose parent run this is."""
        return search_ids(self.tags)

    @property
    def is_users(self) -> bool:
        """Whether the user's code created this run, and ends it."""
        return "trackmllib.user_run" in self.tags

    @property
    def candidate(self) -> int | None:
        """Candidate whose child run this is, or None."""
        number = self.tags.get(CANDIDATE, "")
        return int(number) if number.isdecimal() and len(number) < 10 else None

    def count_of(self, key: str, search_id: str) -> int:
        """Count that the search logs as a metric; 0 if it is missing or invalid."""
        value = own_value(self.metrics, key, search_id)
        return int(value) if value is not None and math.isfinite(value) and value > 0 else 0


def own_value(values: Mapping[str, T], key: str, search_id: str) -> T | None:
    """Value that a search has logged on its parent run, or None.

    The key has a suffix if the user or another search logged another value under it.
    """
    return values.get(conflicts.with_search_id(key, search_id), values.get(key))


class RunReader:
    """Reader of one server, which raises Unreachable or UnknownSearch.

    :param tracking_uri: None for MLflow's current URI.
    :raises Unreachable: The server does not answer within seconds.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        self._uri, self._client = connect(tracking_uri)
        self._experiments: dict[str, str] | None = None

    @property
    def uri(self) -> str:
        """Tracking URI without credentials."""
        return strip_credentials(self._uri)

    @property
    def server(self) -> str:
        """Tracking URI for messages, without credentials and query."""
        return redacted(self._uri)

    def experiments(self) -> dict[str, str]:
        """Names of all experiments, by id."""
        if self._experiments is None:
            found: dict[str, str] = {}
            page: Any = None
            with translated_errors(self._uri):
                while page is None or page.token:
                    token = page.token if page else None
                    page = self._client.search_experiments(
                        view_type=ViewType.ACTIVE_ONLY, max_results=PAGE, page_token=token
                    )
                    found.update((each.experiment_id, each.name) for each in page)
            self._experiments = found
        return self._experiments

    def parent_runs(self, experiments: Sequence[str] | None = None) -> Iterator[StoredRun]:
        """Yield the parent runs in these experiments, or in all, newest first."""
        found = self.search(IS_PARENT_RUN, experiments, page_size=100)
        return (run for run in found if run.search_ids)

    def search(
        self, clauses: str, experiments: Sequence[str] | None = None, page_size: int = PAGE
    ) -> Iterator[StoredRun]:
        """Yield the runs that match an MLflow filter, newest first.

        :param experiments: Experiment ids; None for all.
        """
        ids = list(self.experiments()) if experiments is None else list(experiments)
        parts = (
            self._pages(clauses, ids[start : start + EXPERIMENTS_PER_REQUEST], page_size)
            for start in range(0, len(ids), EXPERIMENTS_PER_REQUEST)
        )
        return heapq.merge(*parts, key=lambda run: -run.start_ms)

    def get(self, run_id: str) -> StoredRun:
        with translated_errors(self._uri):
            return _stored(self._client.get_run(run_id))

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        with translated_errors(self._uri):
            self._client.set_tag(run_id, key, value, synchronous=True)

    def find(self, run_id: str) -> StoredRun | None:
        """Run with this id, or None."""
        try:
            return self.get(run_id)
        except UnknownSearch:
            return None

    def children(self, parent: StoredRun, search_id: str) -> dict[int, StoredRun]:
        """Child runs of a search, by candidate."""
        found: dict[int, StoredRun] = {}
        clause = f"tags.`{SEARCH_ID}` = '{search_id}'"
        for run in self._pages(clause, [parent.experiment_id], PAGE):
            number = run.candidate
            if number is None:
                continue
            # A duplicate run, created after a late answer, is empty until it is deleted.
            before = found.get(number)
            if before is None or len(run.metrics) > len(before.metrics):
                found[number] = run
        return dict(sorted(found.items()))

    def best_child(
        self, parent: StoredRun, search_id: str, metric: str, larger_is_better: bool
    ) -> StoredRun | None:
        """Finished child run with the best value of a metric."""
        clause = f"tags.`{SEARCH_ID}` = '{search_id}' AND attributes.status = 'FINISHED'"
        order = f"metrics.`{metric}` {'DESC' if larger_is_better else 'ASC'}"
        with translated_errors(self._uri):
            page = self._client.search_runs(
                [parent.experiment_id], clause, max_results=1, order_by=[order]
            )
        found = [_stored(run) for run in page]
        return next((run for run in found if metric in run.metrics), None)

    def histories(
        self, wanted: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], list[tuple[int, float, int]]]:
        """Points of metrics, as (step, value, time), by run id and key."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="trackmllib-read") as pool:
            # MLflow's workspace is a context variable.
            contexts = [contextvars.copy_context() for _ in wanted]
            made = pool.map(lambda one, each: one.run(self._history, each), contexts, wanted)
            return dict(zip(wanted, made, strict=True))

    def files(self, parent: StoredRun, search_id: str, *names: str) -> list[str | None]:
        """Texts of files of a search; None for each that does not exist.

        The first file must contain the search id; otherwise the folder belongs to another search,
        or to the user.
        """
        own = conflicts.with_search_id(FOLDER, search_id)
        folders = (FOLDER, own) if len(parent.search_ids) == 1 else (own, FOLDER)
        first, *others = names
        with translated_errors(self._uri):
            for folder in folders:
                there = artifacts.names(self._client, parent.artifact_uri, folder)
                text = self._text(parent, there, folder, first)
                if text is not None and search_id in text:
                    return [text, *(self._text(parent, there, folder, name) for name in others)]
        return [None] * len(names)

    def _text(self, parent: StoredRun, there: list[str], folder: str, name: str) -> str | None:
        path = f"{folder}/{name}"
        if path not in there:
            return None
        try:
            return artifacts.read_text(self._client, parent.artifact_uri, path)
        except UnicodeDecodeError as error:
            # The parser reports the damage.
            return error.object.decode(errors="replace")

    def _history(self, wanted: tuple[str, str]) -> list[tuple[int, float, int]]:
        # Per thread, so also in this thread of the pool.
        with translated_errors(self._uri):
            points = self._client.get_metric_history(*wanted)
        return [(point.step, point.value, point.timestamp) for point in points]

    def _pages(self, clauses: str, experiments: list[str], size: int) -> Iterator[StoredRun]:
        page: Any = None
        while page is None or page.token:
            with translated_errors(self._uri):
                page = self._client.search_runs(
                    experiments,
                    clauses,
                    max_results=size,
                    order_by=NEWEST_FIRST,
                    page_token=page.token if page else None,
                )
            yield from map(_stored, page)


def experiment_ids(reader: RunReader, named: str) -> list[str]:
    """Id of the experiment with this name or id, as a list.

    :raises UnknownSearch: There is no such experiment.
    """
    known = reader.experiments()
    found = [each for each, name in known.items() if name == named]
    if found or named in known:
        return found or [named]
    from trackmllib.config.suggestions import nearest, question

    meant = nearest(named, {name: name for name in known.values()})
    raise UnknownSearch(f"there is no experiment {named} on {reader.server}{question(meant)}")


def _stored(run: Any) -> StoredRun:
    return StoredRun(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        experiment_id=run.info.experiment_id,
        status=run.info.status,
        start_ms=run.info.start_time or 0,
        end_ms=run.info.end_time,
        artifact_uri=run.info.artifact_uri,
        deleted=run.info.lifecycle_stage == "deleted",
        params=run.data.params,
        metrics=run.data.metrics,
        tags=run.data.tags,
    )
