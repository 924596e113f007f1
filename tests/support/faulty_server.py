"""Fake tracking server whose requests fail at chosen moments.

It behaves like MLflow's file store, which appends every metric point that it is sent, and creates a
run for each request. Where a request takes effect late, it behaves like MLflow's SQL store, which
ignores a point that it has.
"""

from __future__ import annotations

import inspect
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from mlflow.entities import FileInfo, Param, RunData, RunInfo, RunStatus, RunTag
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry

from trackmllib.tracking import client as calls

URI = "http://server"
RUN_INFO_TAKES = set(inspect.signature(RunInfo).parameters)


@dataclass
class Fault:
    """What happens to the call after the next ``calls``.

    ``kind`` is "die" (the process), "cut" (the connection), "fail" (the answer is an error), or
    "late" (cut, and the call takes effect two calls later).
    """

    calls: int
    kind: str
    moment: str = "before"


@dataclass
class Run:
    run_id: str
    experiment_id: str
    name: str
    start_ms: int
    tags: dict[str, str]
    status: str = "RUNNING"
    end_ms: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    points: list[tuple[str, str, int, int]] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)
    deleted: bool = False

    def as_mlflow(self):
        latest: dict[str, MlflowMetric] = {}
        for key, value, time_ms, step in sorted(
            self.points, key=lambda point: (point[3], point[2], float(point[1]))
        ):
            latest[key] = MlflowMetric(key, float(value), time_ms, step)
        return MlflowRun(
            RunInfo(
                # MLflow 2 needs the id under its old name as well.
                **dict.fromkeys({"run_id", "run_uuid"} & RUN_INFO_TAKES, self.run_id),
                experiment_id=self.experiment_id,
                user_id="",
                status=self.status,
                start_time=self.start_ms,
                end_time=self.end_ms,
                lifecycle_stage="deleted" if self.deleted else "active",
                artifact_uri=f"fake://server/{self.run_id}",
                run_name=self.name,
            ),
            RunData(
                metrics=list(latest.values()),
                params=[Param(*item) for item in self.params.items()],
                tags=[RunTag(*item) for item in self.tags.items()],
            ),
        )


class Page(list):
    token: str | None = None


class FakeServer:
    """A tracking server, and MLflow's client for it: the calls that trackmllib makes."""

    def __init__(self, store: str = "file", page: int = 3) -> None:
        self.runs: dict[str, Run] = {}
        self.faults: list[Fault] = []
        self.calls = 0
        self._store = store
        self._page = page
        self._numbers = count(1)
        self._late: list[tuple[int, object]] = []
        self.tracking_uri = URI
        self._tracking_client = SimpleNamespace(
            store=SimpleNamespace(update_run_info=self._update_run_info)
        )

    def active(self) -> list[Run]:
        return [run for run in self.runs.values() if not run.deleted]

    def users_run(self, run_id: str, params=(), points=(), tags=(), artifacts=()) -> None:
        """Add a run of the user, with what the user has logged."""
        self.runs[run_id] = Run(
            run_id=run_id,
            experiment_id="7",
            name="of the user",
            start_ms=1,
            tags=dict(tags),
            params=dict(params),
            points=list(points),
            artifacts=dict(artifacts),
        )

    @contextmanager
    def call(self, *effects, answer=None):
        """Run the effects of one request, with the next fault before, between or after them."""
        self.calls += 1
        for when, effect in list(self._late):
            if when <= self.calls:
                self._late.remove((when, effect))
                effect()
        fault = None
        if self.faults:
            if self.faults[0].calls <= 0:
                fault = self.faults.pop(0)
            else:
                self.faults[0].calls -= 1
        if fault is None:
            for effect in effects:
                effect()
            yield
            return
        if fault.kind == "late":
            self._late.extend((self.calls + 2, effect) for effect in effects)
        elif fault.moment != "before":
            kept = effects[: len(effects) // 2] if fault.moment == "halfway" else effects
            for effect in kept:
                effect()
        if fault.kind == "die":
            raise SystemExit("kill -9")
        if fault.kind == "fail":
            raise MlflowException("Internal error", INTERNAL_ERROR)
        raise requests.ConnectionError("Connection aborted")

    # MlflowClient.

    def get_run(self, run_id):
        with self.call():
            return self.runs[run_id].as_mlflow()

    def get_experiment_by_name(self, name):
        with self.call():
            return SimpleNamespace(experiment_id="7")

    def create_run(self, experiment_id, start_time, tags, run_name):
        run = Run(f"run-{next(self._numbers)}", experiment_id, run_name, start_time, dict(tags))
        with self.call(lambda: self.runs.update({run.run_id: run})):
            return run.as_mlflow()

    def search_runs(
        self, experiment_ids, filter_string="", max_results=1000, page_token=None, order_by=()
    ):
        wanted = dict(re.findall(r"tags\.`([^`]+)` = '([^']*)'", filter_string))
        with self.call():
            found = [
                run
                for run in self.active()
                if run.experiment_id in experiment_ids and wanted.items() <= run.tags.items()
            ]
            sign = 1 if "attributes.start_time ASC" in order_by else -1
            found.sort(key=lambda run: (sign * run.start_ms, run.run_id))
            begin = int(page_token or 0)
            page = Page(run.as_mlflow() for run in found[begin : begin + self._page])
            page.token = str(begin + self._page) if begin + self._page < len(found) else None
            return page

    def get_metric_history(self, run_id, key):
        with self.call():
            return [
                MlflowMetric(key, float(value), time_ms, step)
                for found, value, time_ms, step in self.runs[run_id].points
                if found == key
            ]

    def log_batch(self, run_id, metrics=(), params=(), tags=(), synchronous=None):
        run = self.runs[run_id]
        for param in params:
            if run.params.get(param.key, param.value) != param.value:
                raise MlflowException(
                    f"Changing param values is not allowed: {param.key}", INVALID_PARAMETER_VALUE
                )
        effects = [lambda p=p: run.params.update({p.key: p.value}) for p in params]

        def add(metric):
            point = (metric.key, repr(float(metric.value)), metric.timestamp, metric.step)
            if self._store == "file" or point not in run.points:
                run.points.append(point)

        effects += [lambda m=m: add(m) for m in metrics]
        effects += [lambda t=t: run.tags.update({t.key: t.value}) for t in tags]
        with self.call(*effects):
            return

    def set_tag(self, run_id, key, value, synchronous=None):
        with self.call(lambda: self.runs[run_id].tags.update({key: value})):
            return

    def delete_run(self, run_id):
        def delete():
            self.runs[run_id].deleted = True

        with self.call(delete):
            return

    def _update_run_info(self, run_id, status, end_ms, name):
        def update():
            self.runs[run_id].status = RunStatus.to_string(status)
            self.runs[run_id].end_ms = end_ms

        with self.call(update):
            return


class FakeFiles:
    """Artifact repository of one run."""

    def __init__(self, artifact_uri, tracking_uri=None, registry_uri=None) -> None:
        self._server = _servers[-1]
        self._files = self._server.runs[artifact_uri.rpartition("/")[2]].artifacts

    def list_artifacts(self, path=None):
        with self._server.call():
            names = [name for name in self._files if name.startswith(f"{path}/")]
            return [FileInfo(name, False, 0) for name in names]

    def log_artifact(self, local_file, artifact_path=None):
        file = Path(local_file)
        text = file.read_text(encoding="utf-8")
        with self._server.call(lambda: self._files.update({f"{artifact_path}/{file.name}": text})):
            return


_servers: list[FakeServer] = []


@contextmanager
def connected():
    """Have MLflow's clients reach the last fake server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "connect", lambda uri: _servers[-1])
        patch.setitem(_artifact_repository_registry._registry, "fake", FakeFiles)
        yield
    _servers.clear()


def connect(server: FakeServer) -> None:
    """Let the next clients reach this server."""
    _servers.append(server)
