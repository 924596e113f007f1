"""Records through a gateway between Spark's driver and MLflow that answers by itself.

Each round draws, by its seed, what the gateway does to the REST API and to artifacts, how often and
for how long. One ``trackmllib sync`` then completes the record. ``TRACKMLLIB_SEED`` repeats the
rounds of a seed.
"""

from __future__ import annotations

import os
import random
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

import pytest

from support.commands import trackmllib_command
from support.driver_machine import ROUNDS, Driver, Machine
from support.faulty_proxy import LOGIN, MOVED, Action, Answer, Proxy
from support.mlflow_reader import Store
from support.search_events import search
from support.search_player import Player
from trackmllib.cli import main

SEED = int(os.environ.get("TRACKMLLIB_SEED") or random.randrange(1_000_000))
ARTIFACTS = "/mlflow-artifacts/"
JSON = "application/json"
# Requests that MLflow never answers with an empty object.
HOLD_SOMETHING = (
    "/experiments/create",
    "/experiments/get-by-name",
    "/runs/create",
    "/runs/get",
    "/runs/update",
)
REFUSALS = (400, 404, 407, 408, 409, 413, 421, 425)
FAILURES = (500, 501, 502, 503, 504, 507, 511, 520)
FILES = {"best_params.json", "outcome.json", "results.csv", "search.json"}
REPORT = {"report.html", "report.png"}
PARENT_PARAMS = {
    *("best_x", "candidates", "collectSubModels", "estimator", "evaluator"),
    *("foldCol", "metric", "numFolds", "parallelism", "seed"),
}
PARENT_METRICS = {"best_avg_stub", "candidates_finished", "fits_finished", "refit_seconds"}
PLAYED_PARAMS = {"best_maxDepth", "candidates", "estimator", "evaluator", "metric"}
CHILD_METRICS = {"avg_stub", "evaluate_seconds", "fit_seconds", "std_stub", "stub"}
LONGEST_SECONDS = 150.0


class Gateway:
    """Gateway that disturbs requests at random until ``heal()``.

    It also heals ``seconds`` after its first request.
    """

    def __init__(self, rng: random.Random, uri: str) -> None:
        self._rng = rng
        self._uri = uri
        self._seconds = rng.choice([5.0, 20.0, 1000.0, 1000.0])
        kinds = [name for name in dir(self) if name.startswith("do_")]
        self._kinds = {
            artifacts: rng.sample(kinds, rng.choice([1, 2, 4, len(kinds)]))
            for artifacts in (False, True)
        }
        shares = rng.choice(
            [(0.1, 0.3), (0.3, 0.3), (0.6, 0.6), (0.0, 1.0), (0.2, 1.0), (1.0, 0.5)]
        )
        self._shares = dict(zip((False, True), shares, strict=True))
        self._began: float | None = None
        self._healed = False
        self.done: Counter = Counter()

    def __str__(self) -> str:
        kinds = {"artifacts" if a else "API": self._kinds[a] for a in (False, True)}
        return f"{self._seconds} s, shares {self._shares}, {kinds}, done {dict(self.done)}"

    def heal(self) -> None:
        self._healed = True

    def disturb(self, method: str, path: str) -> Action:
        now = time.monotonic()
        self._began = self._began or now
        artifacts = ARTIFACTS in path
        rng = self._rng
        if self._healed or now - self._began > self._seconds:
            return None
        if rng.random() >= self._shares[artifacts]:
            return None
        for kind in rng.sample(self._kinds[artifacts], len(self._kinds[artifacts])):
            action = getattr(self, kind)(path)
            if action is not None:
                self.done[kind] += 1
                return action
        return None

    def do_page(self, path: str) -> Action:
        return Answer(200, reaches_server=self._maybe())

    def do_wrong_json(self, path: str) -> Action:
        bodies = [b"[]", b'"ok"', b"null", b"true", b'{"run": {"info": {"run_id": "']
        if ARTIFACTS not in path:
            # Newer MLflow servers give the same answer to an upload.
            bodies.append(b"")
        return Answer(200, self._rng.choice(bodies), JSON, reaches_server=self._maybe())

    def do_empty_object(self, path: str) -> Action:
        if not path.partition("?")[0].endswith(HOLD_SOMETHING):
            return None
        return Answer(200, b"{}", JSON, reaches_server=self._maybe())

    def do_login(self, path: str) -> Action:
        return Answer(self._rng.choice([301, 302, 303]), location=f"{self._uri}{LOGIN}?next=x")

    def do_move(self, path: str) -> Action:
        return Answer(self._rng.choice([307, 308]), location=f"{self._uri}{MOVED}{path}")

    def do_refuse_with_a_page(self, path: str) -> Action:
        return Answer(self._rng.choice(REFUSALS))

    def do_want_credentials(self, path: str) -> Action:
        return Answer(self._rng.choice([401, 403]))

    def do_fail_with_a_page(self, path: str) -> Action:
        return Answer(self._rng.choice(FAILURES), reaches_server=self._maybe())

    def do_be_busy(self, path: str) -> Action:
        return Answer(429)

    def do_refuse(self, path: str) -> Action:
        return "refuse"

    def do_cut(self, path: str) -> Action:
        return self._rng.choice(["cut", "tear"])

    def do_halve(self, path: str) -> Action:
        return "halve"

    def do_slow(self, path: str) -> Action:
        return self._rng.choice(["slow", "slow", "slow", "stall"])

    def _maybe(self) -> bool:
        return self._rng.random() < 0.5


@dataclass
class Plan:
    """What the driver does in a round."""

    candidates: int
    folds: int
    searches: int
    nested: bool
    report: bool
    flush_timeout: float
    sync_early: bool
    settings: dict = field(init=False)

    def __post_init__(self) -> None:
        self.settings = {
            "candidates": self.candidates,
            "folds": self.folds,
            "searches": self.searches,
            "fit_seconds": 0.02,
            "autolog": {"flush_timeout": self.flush_timeout, "log_datasets": True},
        }
        if self.nested:
            # The inner search stops in none of its fits.
            self.settings["inner"] = 0

    @classmethod
    def drawn(cls, rng: random.Random) -> Plan:
        nested = rng.random() < 0.4
        return cls(
            candidates=rng.choice([2, 3]) if nested else rng.choice([3, 6, 10]),
            folds=rng.choice([2, 3]),
            searches=rng.choice([1, 2]),
            nested=nested,
            report=rng.random() < 0.25,
            flush_timeout=rng.choice([0.0, 3.0, 10.0, 20.0]),
            sync_early=rng.random() < 0.5,
        )

    def parent_runs(self) -> int:
        """Return the number of searches; each refit runs one too."""
        inner = self.candidates * self.folds + 1 if self.nested else 0
        return self.searches * (1 + inner)

    def child_runs(self) -> int:
        outer = self.searches * self.candidates
        return outer + 2 * (self.parent_runs() - self.searches)


@pytest.mark.parametrize("round_", range(ROUNDS), ids=lambda number: f"round {number + 1}")
def test_record_is_complete_after_hostile_proxy(tmp_path, server_uri, round_, figures):
    seed = SEED + round_
    rng = random.Random(seed)
    proxy = Proxy(server_uri)
    gateway = Gateway(rng, proxy.uri)
    plan = Plan.drawn(rng)
    where = f"TRACKMLLIB_SEED={seed}: {plan}; {gateway}"
    print(where)
    proxy.disturb = gateway.disturb
    machine = Machine(tmp_path, proxy.uri, real_uri=server_uri)
    machine.more_environ = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
        "TRACKMLLIB_REPORT": str(plan.report).lower(),
    }
    try:
        driver = machine.driver(**plan.settings).finish(LONGEST_SECONDS)
        left = machine.status()["searches"]
        if left:
            printed = driver.warnings()
            assert any("trackmllib sync" in text for text in printed), (where, printed, left)
        if plan.sync_early:
            early = machine.command("sync", "--timeout", "8")
            printed_by_sync = early.communicate(timeout=90)
            assert early.returncode in (0, 1), (where, printed_by_sync)
        print(dict(gateway.done))
        gateway.heal()
        machine.sync()
        check(machine, proxy, driver, plan)
    finally:
        proxy.close()
    figures[f"15 hostile proxy, round {round_ + 1}"] = (
        f"seed {seed}, {sum(gateway.done.values())} requests disturbed, "
        f"{driver.scores().total()} scores, 0 lost, 0 doubled"
    )


@pytest.mark.parametrize("round_", range(5 * ROUNDS), ids=lambda number: f"round {number + 1}")
def test_played_record_is_complete_after_hostile_proxy(
    tmp_path, server_uri, monkeypatch, lenient, capsys, round_
):
    """Without Spark and in this process, for many rounds in little time."""
    monkeypatch.setenv("TRACKMLLIB_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    seed = SEED + round_
    rng = random.Random(seed)
    proxy = Proxy(server_uri)
    gateway = Gateway(rng, proxy.uri)
    proxy.disturb = gateway.disturb
    store = Store(server_uri, f"hostile-{os.getpid()}-{round_}")
    store.client.create_experiment(store.experiment)
    print(f"TRACKMLLIB_SEED={seed}: {gateway}")
    try:
        player = Player(
            tmp_path,
            proxy.uri,
            store.experiment_id,
            wait=True,
            flush_timeout=rng.choice([0.0, 2.0, 6.0]),
            report=False,
        )
        scores = [[rng.random() for _ in range(rng.choice([2, 3]))]] * rng.choice([2, 5])
        searches = [player.emit(search(scores, [0.5] * len(scores), 0)) for _ in range(2)]
        player.session.process_exit.at_exit()
        # The end of a process would abort the current request and release the outbox.
        while not player.session.relay.stop():
            pass
        player.session.outbox.release()
        if rng.random() < 0.5:
            assert trackmllib_command("sync", "--timeout", "3").returncode in (0, 1)
        gateway.heal()
        assert main(["sync"]) == 0, capsys.readouterr()
        runs = [run for run in store.runs() if run.info.lifecycle_stage == "active"]
        assert {run.info.status for run in runs} == {"FINISHED"}
        assert len(runs) == len(searches) * (1 + len(scores))
        for found in (run for run in runs if "trackmllib.candidate" not in run.data.tags):
            assert set(store.files(found)) == FILES
            assert set(found.data.params) == PLAYED_PARAMS
            assert "**Finished**" in found.data.tags["mlflow.note.content"]
            histories = [store.history(run, "weightedPrecision") for run in store.children(found)]
            assert histories == [list(enumerate(of_candidate)) for of_candidate in scores]
        check_uploads(proxy, server_uri)
        capsys.readouterr()
        assert main(["status"]) == 0
        assert capsys.readouterr().out.startswith("Nothing is left on disk")
    finally:
        proxy.close()


def check(machine: Machine, proxy: Proxy, driver: Driver, plan: Plan) -> None:
    """Check that the record is complete, without duplicates, and nothing waits."""
    store = machine.store
    runs = [run for run in store.runs() if run.info.lifecycle_stage == "active"]
    assert Counter(run.info.status for run in runs) == {"FINISHED": len(runs)}
    parents = [run for run in runs if "trackmllib.candidate" not in run.data.tags]
    children = [run for run in runs if "trackmllib.candidate" in run.data.tags]
    assert (len(parents), len(children)) == (plan.parent_runs(), plan.child_runs())
    assert most_frequent(run.data.tags["trackmllib.search_id"] for run in parents) == 1
    assert most_frequent(candidate_of(run) for run in children) == 1

    points = {
        run.info.run_id: {
            key: store.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics
        }
        for run in runs
    }
    for of_run in points.values():
        for key, history in of_run.items():
            assert most_frequent(point.step for point in history) == 1, key

    printed = Counter(
        (line["x"], repr(line["score"])) for line in driver.printed() if "score" in line
    )
    recorded = Counter(
        (float(run.data.params["x"]), repr(point.value))
        for run in children
        for point in points[run.info.run_id]["stub"]
    )
    assert recorded == printed
    for run in children:
        assert set(run.data.params) == {"x"}
        assert set(run.data.metrics) == CHILD_METRICS
    best = [run.data.tags["trackmllib.search_id"] for run in children if is_best(run)]
    assert Counter(best) == Counter(run.data.tags["trackmllib.search_id"] for run in parents)

    for run in parents:
        assert set(run.data.params) == PARENT_PARAMS
        assert set(run.data.metrics) == PARENT_METRICS
        assert "**Finished**" in run.data.tags["mlflow.note.content"]
        assert len(run.inputs.dataset_inputs) == 1
        files = set(store.files(run))
        assert files - REPORT == FILES
        assert plan.report or files == FILES
    check_files(machine, proxy, printed)
    assert machine.status() == {"searches": [], "damaged": []}
    assert machine.files() == []


def check_files(machine: Machine, proxy: Proxy, printed: Counter) -> None:
    """Check that each artifact is the last one sent, with the scores of the driver."""
    check_uploads(proxy, machine.real_uri)
    tables = [run for run in machine.store.runs() if "trackmllib.candidate" not in run.data.tags]
    rows = [row for run in tables for row in machine.store.results(run)]
    in_tables = Counter(
        (float(row["params.x"]), repr(float(score)))
        for row in rows
        for column, score in row.items()
        if column.startswith("fold_")
    )
    assert in_tables == printed


def check_uploads(proxy: Proxy, uri: str) -> None:
    """Check that the server has the last version of each file."""
    for path, body in proxy.uploaded.items():
        with urllib.request.urlopen(f"{uri}{path}", timeout=30) as answer:
            assert answer.read() == body, path


def candidate_of(run) -> tuple[str, str]:
    return run.data.tags["trackmllib.search_id"], run.data.tags["trackmllib.candidate"]


def is_best(run) -> bool:
    return "trackmllib.best" in run.data.tags


def most_frequent(things) -> int:
    return max(Counter(things).values(), default=1)
