"""Reads searches back from a server: main runs, their files, and their child runs."""

from __future__ import annotations

import contextvars
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import ViewType

from trackmllib.errors import UnknownSearch
from trackmllib.redaction import redacted, stripped
from trackmllib.tracking import artifacts, conflicts
from trackmllib.tracking.client import CANDIDATE, SEARCH_ID
from trackmllib.tracking.main_run import FOLDER
from trackmllib.tracking.reach import asking, reach

PAGE = 1000
# Databricks takes no more experiments than these in one question.
EXPERIMENTS_AT_ONCE = 100
THREADS = 8

# Child runs have no param ``candidates``; on main runs it is ours or, if the user had one, theirs.
# So a server with millions of child runs need not read their tags.
IS_MAIN_RUN = f"params.candidates != '-' AND tags.`{SEARCH_ID}` != '-'"
NEWEST_FIRST = ["attributes.start_time DESC"]


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run as it is on its server; times in milliseconds since the epoch."""

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
        """The searches of which this is the main run; none if it is no main run."""
        if SEARCH_ID not in self.tags or CANDIDATE in self.tags:
            return []
        first = self.tags[SEARCH_ID]
        others = (
            value
            for key, value in self.tags.items()
            if key == conflicts.renamed(SEARCH_ID, value) and value != first
        )
        return [first, *others]

    @property
    def candidate(self) -> int | None:
        """The candidate of which this is the run; None if it is of none."""
        number = self.tags.get(CANDIDATE, "")
        return int(number) if number.isdecimal() and len(number) < 10 else None

    def count_of(self, key: str, search_id: str) -> int:
        """One of our counts among the metrics of a parent run; 0 if it is missing or invalid."""
        value = self.metrics.get(f"{key}_{search_id}", self.metrics.get(key, 0.0))
        return int(value) if math.isfinite(value) and value > 0 else 0


class Reader:
    """Reads from one server. MLflow's errors become Unreachable or UnknownSearch."""

    def __init__(self, tracking_uri: str | None = None) -> None:
        self._uri, self._client = reach(tracking_uri)
        self._experiments: dict[str, str] | None = None

    @property
    def uri(self) -> str:
        """The tracking URI without credentials."""
        return stripped(self._uri)

    @property
    def server(self) -> str:
        """The server as people are told of it."""
        return redacted(self._uri)

    def experiments(self) -> dict[str, str]:
        """The names of all experiments, by id."""
        if self._experiments is None:
            found: dict[str, str] = {}
            page: Any = None
            with asking(self._uri):
                while page is None or page.token:
                    token = page.token if page else None
                    page = self._client.search_experiments(
                        view_type=ViewType.ACTIVE_ONLY, max_results=PAGE, page_token=token
                    )
                    found.update((each.experiment_id, each.name) for each in page)
            self._experiments = found
        return self._experiments

    def main_runs(self, experiments: Sequence[str] | None = None) -> Iterator[StoredRun]:
        """The main runs of these experiments, or of all, newest first; read page by page."""
        found = self.search(IS_MAIN_RUN, experiments, page_size=100)
        return (run for run in found if run.search_ids)

    def search(
        self, clauses: str, experiments: Sequence[str] | None = None, page_size: int = PAGE
    ) -> Iterator[StoredRun]:
        """The runs of these experiments, or of all, for which this holds, newest first."""
        ids = list(self.experiments()) if experiments is None else list(experiments)
        parts = (
            self._pages(clauses, ids[start : start + EXPERIMENTS_AT_ONCE], page_size)
            for start in range(0, len(ids), EXPERIMENTS_AT_ONCE)
        )
        return heapq.merge(*parts, key=lambda run: -run.start_ms)

    def get(self, run_id: str) -> StoredRun:
        with asking(self._uri):
            return _stored(self._client.get_run(run_id))

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        with asking(self._uri):
            self._client.set_tag(run_id, key, value, synchronous=True)

    def find(self, run_id: str) -> StoredRun | None:
        """The run of this id; None if the server knows none."""
        try:
            return self.get(run_id)
        except UnknownSearch:
            return None

    def children(self, main: StoredRun, search_id: str) -> dict[int, StoredRun]:
        """The child runs of a search, by candidate."""
        found: dict[int, StoredRun] = {}
        clause = f"tags.`{SEARCH_ID}` = '{search_id}'"
        for run in self._pages(clause, [main.experiment_id], PAGE):
            number = run.candidate
            if number is None:
                continue
            # One that was made twice, after a late answer, holds nothing until it is deleted.
            before = found.get(number)
            if before is None or len(run.metrics) > len(before.metrics):
                found[number] = run
        return dict(sorted(found.items()))

    def best_child(
        self, main: StoredRun, search_id: str, metric: str, larger_is_better: bool
    ) -> StoredRun | None:
        """The finished child run with the best value of a metric."""
        clause = f"tags.`{SEARCH_ID}` = '{search_id}' AND attributes.status = 'FINISHED'"
        order = f"metrics.`{metric}` {'DESC' if larger_is_better else 'ASC'}"
        with asking(self._uri):
            page = self._client.search_runs(
                [main.experiment_id], clause, max_results=1, order_by=[order]
            )
        found = [_stored(run) for run in page]
        return next((run for run in found if metric in run.metrics), None)

    def histories(
        self, wanted: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], list[tuple[int, float, int]]]:
        """The points of metrics as (step, value, time), by run id and key; a few at a time."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="trackmllib-read") as pool:
            # What holds in this thread holds in those: MLflow's workspace is a context variable.
            contexts = [contextvars.copy_context() for _ in wanted]
            made = pool.map(lambda one, each: one.run(self._history, each), contexts, wanted)
            return dict(zip(wanted, made, strict=True))

    def files(self, main: StoredRun, search_id: str, *names: str) -> list[str | None]:
        """The texts of files of a search; None for one that is not there. The first one names the
        search: what is not so in the folder was there before, or is of another search.
        """
        own = conflicts.renamed(FOLDER, search_id)
        folders = (FOLDER, own) if len(main.search_ids) == 1 else (own, FOLDER)
        first, *others = names
        with asking(self._uri):
            for folder in folders:
                there = artifacts.names(self._client, main.artifact_uri, folder)
                text = self._text(main, there, folder, first)
                if text is not None and search_id in text:
                    return [text, *(self._text(main, there, folder, name) for name in others)]
        return [None] * len(names)

    def _text(self, main: StoredRun, there: list[str], folder: str, name: str) -> str | None:
        path = f"{folder}/{name}"
        if path not in there:
            return None
        try:
            return artifacts.read_text(self._client, main.artifact_uri, path)
        except UnicodeDecodeError as error:
            # The file is damaged; the code that parses it says where.
            return error.object.decode(errors="replace")

    def _history(self, wanted: tuple[str, str]) -> list[tuple[int, float, int]]:
        # In a thread of the pool, where the one attempt must be asked for anew.
        with asking(self._uri):
            points = self._client.get_metric_history(*wanted)
        return [(point.step, point.value, point.timestamp) for point in points]

    def _pages(self, clauses: str, experiments: list[str], size: int) -> Iterator[StoredRun]:
        page: Any = None
        while page is None or page.token:
            with asking(self._uri):
                page = self._client.search_runs(
                    experiments,
                    clauses,
                    max_results=size,
                    order_by=NEWEST_FIRST,
                    page_token=page.token if page else None,
                )
            yield from map(_stored, page)


def experiment_ids(reader: Reader, named: str) -> list[str]:
    """The experiment of this name or id, as a list; UnknownSearch if there is none."""
    known = reader.experiments()
    found = [each for each, name in known.items() if name == named]
    if found or named in known:
        return found or [named]
    from trackmllib.options.near import nearest, question

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
