"""Transactions of many calls on a tracking store in a SQLite file.

MLflow's SQL store opens a session and waits for the disk several times in each call, which is most
of the cost of a call. This module runs the same calls on a copy of the store with one session,
which waits for the disk once, and looks up each run once.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient
from mlflow.tracking._tracking_service.client import TrackingServiceClient

from trackmllib.support.guard import attempt


class StoreTransaction:
    """Client whose calls are all committed or none; for one thread at a time."""

    def __init__(self, client: MlflowClient) -> None:
        store = copy.copy(client._tracking_client.store)
        self._open_session = store.ManagedSessionMaker
        takes_read_only = "read_only" in inspect.signature(self._open_session).parameters
        self._session_arguments = {"read_only": False} if takes_read_only else {}
        self._session: _SharedSession | None = None
        # Not at the top: mlflow-skinny does not require SQLAlchemy.
        from mlflow.store.tracking.dbmodels.models import SqlRun
        from sqlalchemy import text

        # Python's sqlite3 begins a transaction only when something is written.
        self._begin = text("BEGIN IMMEDIATE")
        self._run_table = SqlRun
        self._eager_options = store._get_eager_run_query_options
        self._experiments: dict[str, Any] = {}
        # By run id: the runs in the session, the new ones among them, and those with changes that
        # a later call may look for in the store.
        self._runs: dict[str, Any] = {}
        self._new: set[str] = set()
        self._unwritten: set[str] = set()
        self._original_get_experiment = store.get_experiment
        self._original_get_run = store._get_run
        self._original_get_run_inputs = store._get_run_inputs
        self._original_log_batch = store.log_batch
        store.ManagedSessionMaker = self._shared_session
        store.get_experiment = self._get_experiment
        store._get_run = self._get_run
        store._get_run_inputs = self._get_run_inputs
        store.log_batch = self._log_batch
        self._client = copy.copy(client)
        self._client._tracking_client = _Service.on(store, client._tracking_client)

    @contextmanager
    def __call__(self, run_ids: Iterable[str] = ()) -> Iterator[MlflowClient]:
        """Commit the calls of the block, or none if one of them raises.

        After an error, repeat the calls singly to find the one that fails.

        :param run_ids: The existing runs that the calls change, to load them at once.
        """
        with self._open_session(**self._session_arguments) as session, session.no_autoflush:
            try:
                self._session = _SharedSession(session, self._on_added)
                self._load_runs(session, list(run_ids))
                yield self._client
            finally:
                self._session = None
                for cache in (self._experiments, self._runs, self._new, self._unwritten):
                    cache.clear()

    @contextmanager
    def _shared_session(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Replaces ``ManagedSessionMaker``."""
        if self._session is None:
            raise RuntimeError("the transaction is over")
        yield self._session

    def _load_runs(self, session: Any, run_ids: list[str]) -> None:
        """Load many runs at once, with what MLflow would load of each.

        The transaction begins here, so no other program changes the runs in the meantime.
        """
        if run_ids:
            session.execute(self._begin)
            runs = session.query(self._run_table).options(*self._eager_options())
            found = runs.filter(self._run_table.run_uuid.in_(run_ids))
            self._runs.update((run.run_uuid, run) for run in found)

    def _on_added(self, item: Any) -> None:
        """Record a run that MLflow creates but that is not in the store yet."""
        if isinstance(item, self._run_table) and item.run_uuid not in self._runs:
            self._runs[item.run_uuid] = item
            self._new.add(item.run_uuid)

    def _get_experiment(self, experiment_id: str) -> Any:
        """Cache an experiment, which MLflow loads for each run it creates."""
        if experiment_id not in self._experiments:
            self._experiments[experiment_id] = self._original_get_experiment(experiment_id)
        return self._experiments[experiment_id]

    def _get_run(self, session: Any, run_uuid: str, **options: Any) -> Any:
        """Cache a run, which MLflow loads four times to log to it."""
        if run_uuid not in self._runs:
            self._runs[run_uuid] = self._original_get_run(
                session=session, run_uuid=run_uuid, **options
            )
        return self._runs[run_uuid]

    def _get_run_inputs(self, session: Any, run_uuids: list[str]) -> Any:
        """Skip the lookup for runs that MLflow has just created."""
        if self._new.issuperset(run_uuids):
            return [[] for _ in run_uuids]
        return self._original_get_run_inputs(session=session, run_uuids=run_uuids)

    def _log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        """Write what MLflow will look up in the store, then log the batch."""
        if run_id in self._unwritten or (tags and run_id in self._new):
            assert self._session is not None
            self._session.flush()
            for written in self._unwritten:
                # The next call must see what the calls before it have written.
                self._session.expire(self._runs[written])
            self._unwritten.clear()
            self._new.clear()
        self._original_log_batch(run_id, metrics, params, tags)
        self._unwritten.add(run_id)


def store_transaction(client: MlflowClient, uri: str) -> StoreTransaction | None:
    """The transaction for a client; None unless its store is a SQLite file."""
    if not uri.startswith("sqlite"):
        return None
    return attempt(lambda: StoreTransaction(client), None)


class _SharedSession:
    """The session that all calls share and none can end."""

    def __init__(self, session: Any, on_added: Callable[[Any], None]) -> None:
        self._session = session
        self._on_added = on_added

    def add(self, item: Any) -> None:
        self._session.add(item)
        self._on_added(item)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def commit(self) -> None:
        """Do nothing: everything is committed at the end."""

    def rollback(self) -> None:
        """Raise, because later calls must not continue without earlier ones."""
        raise RuntimeError("a call of many was rolled back")

    def close(self) -> None:
        """Do nothing: the transaction closes the session."""


class _Service(TrackingServiceClient):  # type: ignore[misc]
    """MLflow's service client for a given store instead of a URI."""

    _own: Any = None

    @classmethod
    def on(cls, store: Any, service: TrackingServiceClient) -> _Service:
        made = cls.__new__(cls)
        made.__dict__.update(vars(service), _own=store)
        return made

    @property
    def store(self) -> Any:
        return self._own
