"""The main run on the server: what it holds already, and under which names a search adds to it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from mlflow import MlflowClient

from trackmllib.errors import Rejected, StoreUnauthorized
from trackmllib.operations import LogBatch
from trackmllib.tracking import artifacts, conflicts
from trackmllib.tracking.client import log_batch
from trackmllib.tracking.failures import partly_done
from trackmllib.tracking.known import DESCRIBED, FILES, MADE, RUN, Known
from trackmllib.tracking.notes import NOTE, with_part
from trackmllib.tracking.points import StandingPoints

# Who sets it to "true" on a main run asks for the end of its search.
STOP = "trackmllib.stop"
FOLDER = "trackmllib"


class MainRun:
    """One main run as one search sees it. A name, once settled, holds until the search ends.

    ``others`` returns the other searches of this process on the same run: their names may be
    settled, and not on the server yet. ``note`` is handed what the user should know although
    nothing is missing.
    """

    def __init__(
        self,
        client: MlflowClient,
        known: Known,
        points: StandingPoints,
        others: Callable[[], Iterable[Known]],
        note: Callable[[str], None],
    ) -> None:
        self.client = client
        self.run_id = known.get(RUN) or ""
        self._points = points
        self._known = known
        self._others = others
        self.search_id = self._search_id = known.search_id
        self._note = note

    def log(self, batch: LogBatch, again: bool = False) -> None:
        """Log under names that overwrite nothing.

        The user may log the same name in the moment between our look and our write; then the names
        are settled once more.
        """
        if self._known.get(MADE):
            # Nobody else has logged on it, not even we before a crash: those are our own names.
            self._send(batch, again)
            return
        named = self._named(batch)
        try:
            self._send(named, again)
        except Rejected:
            with partly_done():
                if not self._log_under_other_names(batch, named):
                    raise

    def _log_under_other_names(self, batch: LogBatch, before: LogBatch) -> bool:
        """Settle the names once more, and log under them; False if they are the same."""
        data = self.client.get_run(self.run_id).data
        resettled = {
            _fact("param", key): self._settled("param", key, value, data.params)
            for key, value in batch.params
        }
        self._known.keep(resettled, on_disk=True)
        renamed = self._named(batch)
        if renamed == before:
            return False
        self._send(renamed, again=True)
        return True

    def _send(self, batch: LogBatch, again: bool) -> None:
        if again:
            batch = self._points.without_them(self.client, self.run_id, batch)
        self._points.forget(self.run_id)
        log_batch(self.client, self.run_id, batch)

    def has_results(self) -> bool:
        """Whether this search has written its ``results.csv``, which it does at its end.

        False if the store does not let this process list its files.
        """
        folder = self._settled_folder()
        try:
            return f"{folder}/results.csv" in artifacts.names(self.client, self._files(), folder)
        except StoreUnauthorized:
            return False

    def _files(self) -> str:
        """Where the files of the run are; not known beforehand where there are secrets in it."""
        known = self._known.get(FILES)
        return known or str(self.client.get_run(self.run_id).info.artifact_uri)

    def log_file(self, file_name: str, pieces: Iterable[bytes]) -> None:
        """Write a file into this search's folder."""
        path = f"{self._settled_folder()}/{file_name}"
        artifacts.log_file(self.client, self._files(), pieces, path)

    def describe(self, text: str, may_be_old: bool = False) -> None:
        """Say in the run's description how the search stands, beside what others have written.

        If the search has written its results, a text that ``may_be_old`` is not written.
        """
        if may_be_old and (self._known.get(DESCRIBED) or self.has_results()):
            return
        note = self.client.get_run(self.run_id).data.tags.get(NOTE, "")
        described = with_part(note, self._search_id, text)
        if described != note:
            self.client.set_tag(self.run_id, NOTE, described, synchronous=True)

    def _named(self, batch: LogBatch) -> LogBatch:
        self._settle(batch)
        return LogBatch(
            search_id=batch.search_id,
            params=tuple((self._name("param", key), value) for key, value in batch.params),
            tags=tuple((self._name("tag", key), value) for key, value in batch.tags),
            metrics=tuple(m._replace(key=self._name("metric", m.key)) for m in batch.metrics),
        )

    def _name(self, kind: str, key: str) -> str:
        name = self._known.get(_fact(kind, key))
        assert name is not None
        return name

    def _is_new(self, kind: str, key: str) -> bool:
        return self._known.get(_fact(kind, key)) is None

    def _settle(self, batch: LogBatch) -> None:
        """Decide on new names, and keep the decision before anything is sent under them."""
        params = [(key, value) for key, value in batch.params if self._is_new("param", key)]
        tags = [(key, value) for key, value in batch.tags if self._is_new("tag", key)]
        metrics = [m for m in batch.metrics if self._is_new("metric", m.key)]
        if not (params or tags or metrics):
            return
        run = self.client.get_run(self.run_id)
        self._notice_early_end(run, batch)
        data, search_id = run.data, self._search_id
        names: dict[str, str] = {}
        for key, value in params:
            names[_fact("param", key)] = self._settled("param", key, value, data.params)
        for key, value in tags:
            names[_fact("tag", key)] = self._settled("tag", key, value, data.tags)
        for m in reversed(metrics):
            # The first point of a key decides.
            names[_fact("metric", m.key)] = (
                conflicts.renamed(m.key, search_id)
                if self._is_reserved(_fact("metric", m.key), m.key, data.metrics)
                else conflicts.settle_metric(m.key, m.value, m.series, data.metrics, search_id)
            )
        self._known.keep(names, on_disk=True)

    def _settled(self, kind: str, key: str, value: str, existing: Mapping[str, str]) -> str:
        if self._is_reserved(_fact(kind, key), key, existing):
            return conflicts.renamed(key, self._search_id)
        return conflicts.settle(key, value, existing, self._search_id)

    def _is_reserved(self, fact: str, name: str, existing: Container[str]) -> bool:
        """Whether another search has settled a name that is not on the server yet."""
        return name not in existing and any(other.get(fact) == name for other in self._others())

    def _settled_folder(self) -> str:
        folder = FOLDER if self._known.get(MADE) else self._known.get("folder")
        if folder is None:
            try:
                taken = bool(artifacts.names(self.client, self._files(), FOLDER))
            except StoreUnauthorized:
                # These credentials cannot list files: a name of its own overwrites nothing.
                taken = True
            taken = taken or self._is_reserved("folder", FOLDER, ())
            folder = conflicts.renamed(FOLDER, self._search_id) if taken else FOLDER
            self._known.keep({"folder": folder}, on_disk=True)
        return folder

    def _notice_early_end(self, run: Any, batch: LogBatch) -> None:
        """A run that ended before this search did was ended by somebody else."""
        ended_ms = run.info.end_time
        latest_ms = max((m.time_ms for m in batch.metrics), default=0)
        if run.info.status != "RUNNING" and ended_ms is not None and ended_ms < latest_ms:
            self._note(
                f"run {self.run_id} was ended ({run.info.status}) while the search was still "
                "running; what came later is on it, but its end time is too early"
            )


def _fact(kind: str, key: str) -> str:
    """The name of the fact that holds under which name a param, tag or metric is logged."""
    return f"{kind}/{key}"
