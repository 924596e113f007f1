"""Many calls in one transaction, where the tracking store is a SQLite file in this process.

MLflow's SQL store opens a session, and waits for the disk, several times in each call: that is most
of what a call costs. On a copy of the store, whose sessions are one, the same calls of MLflow's
run, and the disk is waited for once; what each of them looks up again, as the run that it is about,
is looked up once too.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient
from mlflow.tracking._tracking_service.client import TrackingServiceClient

from trackmllib.guard import attempt


class OneTransaction:
    """A client whose calls stand all together, or not at all. For one thread at a time."""

    def __init__(self, client: MlflowClient) -> None:
        store = copy.copy(client._tracking_client.store)
        self._open = store.ManagedSessionMaker
        takes_read_only = "read_only" in inspect.signature(self._open).parameters
        self._arguments = {"read_only": False} if takes_read_only else {}
        self._session: _Shared | None = None
        store.ManagedSessionMaker = self._shared
        self._get_experiment, self._get_run = store.get_experiment, store._get_run
        self._log_batch = store.log_batch
        # Not everybody who has MLflow has SQLAlchemy.
        from mlflow.store.tracking.dbmodels.models import SqlRun
        from sqlalchemy import text

        # Python's sqlite3 begins a transaction only where something is written.
        self._lock = text("BEGIN IMMEDIATE")
        self._table, self._with_all = SqlRun, store._get_eager_run_query_options
        self._experiments: dict[str, Any] = {}
        # By run id: those that are in the session, of these the new ones, and those of which
        # something may not be in the store yet that a later call looks for there.
        self._runs: dict[str, Any] = {}
        self._new: set[str] = set()
        self._unwritten: set[str] = set()
        store.get_experiment = self._experiment
        self._get_run_inputs = store._get_run_inputs
        store._get_run, store._get_run_inputs = self._run, self._inputs
        store.log_batch = self._log
        self._client = copy.copy(client)
        self._client._tracking_client = _Service.on(store, client._tracking_client)

    @contextmanager
    def __call__(self, run_ids: Iterable[str] = ()) -> Iterator[MlflowClient]:
        """The client for the calls of one transaction, which is rolled back if one of them raises.
        ``run_ids``: the runs that are there already, as far as they are known.

        What it raises may be an error of a single call: that call, by itself, says what is wrong.
        """
        with self._open(**self._arguments) as session, session.no_autoflush:
            try:
                self._session = _Shared(session, self._added)
                self._load(session, list(run_ids))
                yield self._client
            finally:
                self._session = None
                for known in (self._experiments, self._runs, self._new, self._unwritten):
                    known.clear()

    @contextmanager
    def _shared(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """What stands in the place of ``ManagedSessionMaker``."""
        if self._session is None:
            raise RuntimeError("the transaction is over")
        yield self._session

    def _experiment(self, experiment_id: str) -> Any:
        """MLflow asks for it, with its tags, each time that it makes a run."""
        if experiment_id not in self._experiments:
            self._experiments[experiment_id] = self._get_experiment(experiment_id)
        return self._experiments[experiment_id]

    def _load(self, session: Any, run_ids: list[str]) -> None:
        """Look up many runs at once, with what MLflow would look up of each; nobody else changes
        them meanwhile.
        """
        if run_ids:
            session.execute(self._lock)
            runs = session.query(self._table).options(*self._with_all())
            found = runs.filter(self._table.run_uuid.in_(run_ids))
            self._runs.update((run.run_uuid, run) for run in found)

    def _added(self, item: Any) -> None:
        """MLflow has made something, which is not in the store before the end."""
        if isinstance(item, self._table) and item.run_uuid not in self._runs:
            self._runs[item.run_uuid] = item
            self._new.add(item.run_uuid)

    def _inputs(self, session: Any, run_uuids: list[str]) -> Any:
        """MLflow asks for those of a run that it has just made."""
        if self._new.issuperset(run_uuids):
            return [[] for _ in run_uuids]
        return self._get_run_inputs(session=session, run_uuids=run_uuids)

    def _run(self, session: Any, run_uuid: str, **options: Any) -> Any:
        """MLflow asks for a run four times when it logs to it."""
        if run_uuid not in self._runs:
            self._runs[run_uuid] = self._get_run(session=session, run_uuid=run_uuid, **options)
        return self._runs[run_uuid]

    def _log(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        """What was logged before to the same run is looked for in the store, and so are the tags
        that it was made with.
        """
        if run_id in self._unwritten or (tags and run_id in self._new):
            assert self._session is not None
            self._session.flush()
            for written in self._unwritten:
                # It is as the calls have left it, and not as they have found it.
                self._session.expire(self._runs[written])
            self._unwritten.clear()
            self._new.clear()
        self._log_batch(run_id, metrics, params, tags)
        self._unwritten.add(run_id)


def one_transaction(client: MlflowClient, uri: str) -> OneTransaction | None:
    """What makes many calls one; None where they are requests, or the store is not as it was."""
    if not uri.startswith("sqlite"):
        return None
    return attempt(lambda: OneTransaction(client), None)


class _Shared:
    """The session of all calls, as one of them sees it: it cannot end it."""

    def __init__(self, session: Any, added: Callable[[Any], None]) -> None:
        self._session = session
        self._added = added

    def add(self, item: Any) -> None:
        self._session.add(item)
        self._added(item)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def commit(self) -> None:
        """All of it is written at the end."""

    def rollback(self) -> None:
        """A call that goes on after it would go on without those before it."""
        raise RuntimeError("a call of many was rolled back")

    def close(self) -> None:
        """It is closed by whoever opened it."""


class _Service(TrackingServiceClient):  # type: ignore[misc]
    """MLflow's client of one store, which is not looked up by its URI."""

    _own: Any = None

    @classmethod
    def on(cls, store: Any, service: TrackingServiceClient) -> _Service:
        made = cls.__new__(cls)
        made.__dict__.update(vars(service), _own=store)
        return made

    @property
    def store(self) -> Any:
        return self._own
