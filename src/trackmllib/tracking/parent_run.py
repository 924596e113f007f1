"""Parent run of a search, and the names under which the search logs."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from mlflow import MlflowClient

from trackmllib.domain.operations import LogBatch
from trackmllib.exceptions import Rejected, StoreUnauthorized
from trackmllib.tracking import artifacts, conflicts
from trackmllib.tracking.client import log_batch
from trackmllib.tracking.description import NOTE, merge_section
from trackmllib.tracking.error_policy import partially_applied
from trackmllib.tracking.metric_dedup import MetricDeduplicator
from trackmllib.tracking.run_registry import DESCRIBED, FILES, MADE, RUN, RunRegistry

# The folder of trackmllib's artifacts, and the registry entry for the folder of a search.
FOLDER = "trackmllib"
_FOLDER_ENTRY = "folder"


class ParentRun:
    """Parent run, to which a search logs under settled names.

    :param others: Returns the registries of other searches on the same run, whose settled names
        may not be on the server yet.
    :param note: Called with a message for the user, even if no data is missing.
    """

    def __init__(
        self,
        client: MlflowClient,
        registry: RunRegistry,
        dedup: MetricDeduplicator,
        others: Callable[[], Iterable[RunRegistry]],
        note: Callable[[str], None],
    ) -> None:
        self.client = client
        self.run_id = registry.get(RUN) or ""
        self._registry = registry
        self._search_id = registry.search_id
        self._dedup = dedup
        self._others = others
        self._note = note

    def log(self, batch: LogBatch, redelivered: bool = False) -> None:
        """Log under names that overwrite nothing.

        If the user logs the same name between our read and our write, names are settled again.
        """
        if self._registry.get(MADE):
            # Only trackmllib logs to it, under its own names.
            self._send(batch, redelivered)
            return
        named = self._with_settled_names(batch)
        try:
            self._send(named, redelivered)
        except Rejected:
            with partially_applied():
                if not self._log_under_other_names(batch, named):
                    raise

    def log_file(self, file_name: str, pieces: Iterable[bytes], in_folder: bool) -> None:
        """Write a file into the folder of this search, or beside it."""
        path = f"{self._settled_folder()}/{file_name}" if in_folder else file_name
        artifacts.log_file(self.client, self._artifact_uri(), pieces, path)

    def has_results(self) -> bool:
        """Whether this search has ended, and so written its ``results.csv``.

        False if the store does not let this process list its files.
        """
        folder = self._settled_folder()
        try:
            names = artifacts.names(self.client, self._artifact_uri(), folder)
        except StoreUnauthorized:
            return False
        return f"{folder}/results.csv" in names

    def describe(
        self, text: str, may_be_old: bool = False, tags: Mapping[str, str] | None = None
    ) -> None:
        """Set the section of this search in the description of the run, and tags.

        A text that ``may_be_old`` is not written after the search has written its results.
        """
        if may_be_old and (self._registry.get(DESCRIBED) or self.has_results()):
            return
        existing = self.client.get_run(self.run_id).data.tags
        described = merge_section(existing.get(NOTE, ""), self._search_id, text)
        wanted = {NOTE: described, **self._named_tags(tags or {}, existing)}
        changed = [item for item in wanted.items() if item not in existing.items()]
        if changed:
            log_batch(
                self.client,
                self.run_id,
                LogBatch(search_id=self._search_id, tags=tuple(changed)),
            )

    def _send(self, batch: LogBatch, redelivered: bool) -> None:
        if redelivered:
            batch = self._dedup.without_logged(self.client, self.run_id, batch)
        self._dedup.forget(self.run_id)
        log_batch(self.client, self.run_id, batch)

    def _log_under_other_names(self, batch: LogBatch, before: LogBatch) -> bool:
        """Settle the names of params again, and log; False if none changes."""
        data = self.client.get_run(self.run_id).data
        settled = {
            _entry("param", key): self._free_name("param", key, value, data.params)
            for key, value in batch.params
        }
        self._registry.save(settled, durable=True)
        renamed = self._with_settled_names(batch)
        if renamed == before:
            return False
        self._send(renamed, redelivered=True)
        return True

    def _artifact_uri(self) -> str:
        """The artifact URI, requested if the registry must not contain it."""
        saved = self._registry.get(FILES)
        return saved or str(self.client.get_run(self.run_id).info.artifact_uri)

    def _with_settled_names(self, batch: LogBatch) -> LogBatch:
        self._settle_names(batch)
        return LogBatch(
            search_id=batch.search_id,
            params=tuple((self._name("param", key), value) for key, value in batch.params),
            tags=tuple((self._name("tag", key), value) for key, value in batch.tags),
            metrics=tuple(m._replace(key=self._name("metric", m.key)) for m in batch.metrics),
        )

    def _named_tags(self, tags: Mapping[str, str], existing: Mapping[str, str]) -> dict[str, str]:
        """Tags under settled names."""
        if self._registry.get(MADE):
            return dict(tags)
        new = {
            _entry("tag", key): self._free_name("tag", key, value, existing)
            for key, value in tags.items()
            if self._is_new("tag", key)
        }
        self._registry.save(new, durable=True)
        return {self._name("tag", key): value for key, value in tags.items()}

    def _name(self, kind: str, key: str) -> str:
        name = self._registry.get(_entry(kind, key))
        assert name is not None
        return name

    def _is_new(self, kind: str, key: str) -> bool:
        return self._registry.get(_entry(kind, key)) is None

    def _settle_names(self, batch: LogBatch) -> None:
        """Decide on new names, and save them before anything is logged under them."""
        params = [(key, value) for key, value in batch.params if self._is_new("param", key)]
        tags = [(key, value) for key, value in batch.tags if self._is_new("tag", key)]
        metrics = [m for m in batch.metrics if self._is_new("metric", m.key)]
        if not (params or tags or metrics):
            return
        run = self.client.get_run(self.run_id)
        self._note_early_end(run, batch)
        data, search_id = run.data, self._search_id
        names: dict[str, str] = {}
        for key, value in params:
            names[_entry("param", key)] = self._free_name("param", key, value, data.params)
        for key, value in tags:
            names[_entry("tag", key)] = self._free_name("tag", key, value, data.tags)
        for m in reversed(metrics):
            # The first point of a key decides.
            entry = _entry("metric", m.key)
            names[entry] = (
                conflicts.with_search_id(m.key, search_id)
                if self._is_reserved(entry, m.key, data.metrics)
                else conflicts.resolve_metric_name(
                    m.key, m.value, m.series, data.metrics, search_id
                )
            )
        self._registry.save(names, durable=True)

    def _free_name(self, kind: str, key: str, value: str, existing: Mapping[str, str]) -> str:
        if self._is_reserved(_entry(kind, key), key, existing):
            return conflicts.with_search_id(key, self._search_id)
        return conflicts.resolve_name(key, value, existing, self._search_id)

    def _is_reserved(self, entry: str, name: str, existing: Container[str]) -> bool:
        """Whether another search has settled a name that is not on the server yet."""
        return name not in existing and any(other.get(entry) == name for other in self._others())

    def _settled_folder(self) -> str:
        folder = FOLDER if self._registry.get(MADE) else self._registry.get(_FOLDER_ENTRY)
        if folder is None:
            try:
                taken = bool(artifacts.names(self.client, self._artifact_uri(), FOLDER))
            except StoreUnauthorized:
                # Without the permission to list files, only a unique name is safe.
                taken = True
            taken = taken or self._is_reserved(_FOLDER_ENTRY, FOLDER, ())
            folder = conflicts.with_search_id(FOLDER, self._search_id) if taken else FOLDER
            self._registry.save({_FOLDER_ENTRY: folder}, durable=True)
        return folder

    def _note_early_end(self, run: Any, batch: LogBatch) -> None:
        """Tell the user if the run was ended before this search."""
        if self._registry.get(DESCRIBED):
            # The search has ended, too.
            return
        ended_ms = run.info.end_time
        latest_ms = max((m.time_ms for m in batch.metrics), default=0)
        if run.info.status != "RUNNING" and ended_ms is not None and ended_ms < latest_ms:
            self._note(
                f"run {self.run_id} was ended ({run.info.status}) while the search was still "
                "running; later results are on it, but its end time is too early"
            )


def _entry(kind: str, key: str) -> str:
    """The registry entry for the settled name of a param, tag or metric."""
    return f"{kind}/{key}"
