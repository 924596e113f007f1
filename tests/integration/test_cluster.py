"""A standalone cluster, with drivers started by python and by spark-submit in client mode."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.standalone_cluster import SHORT_LIVED, SPARK_HOME, Cluster
from support.driver_machine import Driver, Machine, Report, compare
from support.mlflow_server import free_port

pytestmark = pytest.mark.timeout(900)

JOB = str(Path(__file__).with_name("cluster_job.py"))
METRIC = "weightedPrecision"
CANDIDATES, FOLDS = 4, 2
CONF = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.executor.memory": "512m",
    # Optimizations for long jobs slow down short ones.
    "spark.driver.extraJavaOptions": SHORT_LIVED,
    "spark.executor.extraJavaOptions": SHORT_LIVED,
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.log.level": "ERROR",
}
# For each step of a driver, on a busy machine.
SECONDS = 240.0
# The first fit of the second fold: its training data are cached in the executors, and its
# validation data are not computed yet.
HELD = CANDIDATES + 1

Start = Callable[..., "Job"]


class Job:
    """A run of cluster_job.py on its own machine."""

    def __init__(self, machine: Machine, driver: Driver, folder: Path) -> None:
        self.machine = machine
        self.driver = driver
        self._folder = folder

    def wait_until_held(self) -> Path:
        """Wait until a task is held; return the working folder of its executor."""
        self.driver.wait_until(lambda line: "held" in line, SECONDS)
        self.driver.wait_until(lambda _: any(self._folder.glob("held-?")), SECONDS)
        return Path(next(self._folder.glob("held-?")).read_text())

    def release(self) -> None:
        (self._folder / "hold").unlink()

    def wait_until_delivered(self) -> None:
        """Wait until the outbox is empty."""
        deadline = time.monotonic() + SECONDS
        while self.machine.files():
            assert time.monotonic() < deadline, self.machine.status()
            time.sleep(0.1)

    def scores(self) -> dict[int, list[tuple[int, float]]]:
        """Return the printed folds and scores by candidate."""
        found: dict[int, list[tuple[int, float]]] = {}
        for line in self.driver.printed():
            if "score" in line:
                found.setdefault(line["x"], []).append((line["fold"], line["score"]))
        return found

    def report(self) -> Report:
        return compare(
            self.machine.store,
            self.driver,
            metric=METRIC,
            candidate=lambda child: int(child.data.tags["trackmllib.candidate"]),
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), free_port(), free_port())
    try:
        cluster.wait()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def start(tmp_path_factory, server_uri):
    """Return a function that starts cluster_job.py with python or spark-submit."""
    jobs = tmp_path_factory.mktemp("jobs")
    started: list[Job] = []

    def start(master: str, *, submit: bool = False, held: int | None = None, **conf: str) -> Job:
        folder = jobs / str(len(started))
        options = ["--master", master, "--deploy-mode", "client"]
        for key, value in {**CONF, **conf}.items():
            options += ["--conf", f"{key}={value}"]
        job = [JOB, str(folder), *([str(held)] if held else [])]
        environ = {
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_LOCAL_DIRS": str(folder / "local"),
            "PYSPARK_DRIVER_PYTHON": sys.executable,
        }
        if submit:
            command = [str(SPARK_HOME / "bin" / "spark-submit"), *options, *job]
        else:
            command = [sys.executable, *job]
            environ["PYSPARK_SUBMIT_ARGS"] = shlex.join([*options, "pyspark-shell"])
        machine = Machine(folder, server_uri, more_environ=environ)
        started.append(Job(machine, machine.program(*command), folder))
        return started[-1]

    yield start
    for job in started:
        job.driver.kill_group()


@pytest.fixture(scope="module")
def local(start):
    """The job without a cluster, on as many cores."""
    return start("local[2]")


def check_whole_record(job: Job) -> None:
    """Check that every score and average is exact and recorded once, in FINISHED runs."""
    assert job.driver.warnings() == []
    assert job.report().is_clean(), job.report()
    assert job.report().status == {"FINISHED": CANDIDATES + 1}
    store = job.machine.store
    children = store.children(store.only_parent_run())
    scores = job.scores()
    assert [store.history(child, METRIC) for child in children] == [
        scores[candidate] for candidate in range(CANDIDATES)
    ]
    printed = job.driver.wait_until(lambda line: "averages" in line)
    for key, expected in (("avg", printed["averages"]), ("std", printed["deviations"])):
        points = [store.history(child, f"{key}_{METRIC}") for child in children]
        assert [value for [(_, value)] in points] == expected
    assert job.machine.files() == []


def structure(job: Job) -> list:
    """Return names, params, statuses, nesting, keys and artifacts of a record."""
    store = job.machine.store
    parent = store.only_parent_run()
    return [
        (
            run.info.run_name,
            run.info.status,
            run.data.params,
            sorted(run.data.metrics),
            sorted(key for key in run.data.tags if key.startswith("trackmllib.")),
            store.files(run),
        )
        for run in (parent, *store.children(parent))
    ]


def test_search_by_spark_submit_on_a_cluster_equals_a_local_one(local, cluster, start):
    submitted = start(cluster.uri, submit=True)
    for job in (local, submitted):
        job.driver.finish(SECONDS)
        check_whole_record(job)
    assert submitted.driver.wait_until(lambda line: "ready" in line)["ready"] == cluster.uri
    assert structure(submitted) == structure(local)
    assert submitted.scores() == local.scores()


def test_sync_recovers_killed_driver_of_spark_submit(cluster, start):
    job = start(cluster.uri, submit=True, held=HELD)
    job.wait_until_held()
    job.driver.kill_group()
    job.release()
    (left,) = job.machine.status()["searches"]
    assert left["state"] == "died with its process"
    job.machine.sync()
    report = job.report()
    assert report.is_clean(), report
    assert report.printed == HELD - 1
    assert report.status == {"KILLED": CANDIDATES + 1}
    parent = job.machine.store.only_parent_run()
    assert parent.data.metrics["fits_finished"] == HELD - 1
    assert "trackmllib.last_sign_of_life" in parent.data.tags
    rows = job.machine.store.results(parent)
    assert [float(row["fold_0"]) for row in rows] == [job.scores()[c][0][1] for c in range(4)]
    assert {row["fold_1"] for row in rows} == {""}
    assert job.machine.status() == {"searches": [], "damaged": []}


def test_terminated_spark_submit_leaves_no_run_running(start):
    """``kill`` ends only its JVM: the search fails and keeps its scores."""
    job = start("local[2]", submit=True, held=HELD)
    job.wait_until_held()
    job.driver.signal(signal.SIGTERM, 128 + signal.SIGTERM, SECONDS)
    job.release()
    job.wait_until_delivered()
    report = job.report()
    assert report.is_clean(), report
    assert report.printed == HELD - 1
    assert job.machine.store.only_parent_run().info.status == "FAILED"


def test_worker_killed_during_a_fit_does_not_change_the_record(local, cluster, start, tmp_path):
    """Spark repeats the lost tasks on the other worker; the record has each fit once."""
    log = tmp_path / "events"
    log.mkdir()
    conf = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": log.as_uri(),
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.compress": "false",
    }
    job = start(cluster.uri, held=HELD, **conf)
    executor = job.wait_until_held()
    cluster.kill_worker_of(executor)
    cluster.wait(workers=1)
    job.release()
    for each in (job, local):
        each.driver.finish(SECONDS)
        check_whole_record(each)
    assert job.scores() == local.scores()
    assert ended_tasks(log)["ExecutorLostFailure"] >= 1


def ended_tasks(log: Path) -> Counter:
    """Count the ended tasks by reason, from Spark's event log."""
    (file,) = log.iterdir()
    events = map(json.loads, file.read_text().splitlines())
    return Counter(
        event["Task End Reason"]["Reason"]
        for event in events
        if event["Event"] == "SparkListenerTaskEnd"
    )
