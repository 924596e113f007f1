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

from conftest import free_port
from faults.scene import Driver, Report, Scene, compare
from places.cluster import SHORT_LIVED, SPARK_HOME, Cluster

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

JOB = str(Path(__file__).with_name("job.py"))
METRIC = "weightedPrecision"
CANDIDATES, FOLDS = 4, 2
CONF = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.executor.memory": "512m",
    # What makes long jobs fast makes short ones slow.
    "spark.driver.extraJavaOptions": SHORT_LIVED,
    "spark.executor.extraJavaOptions": SHORT_LIVED,
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.log.level": "ERROR",
}
# For each thing that a driver does, on a machine that has much else to do.
SECONDS = 240.0
# The first cell of the second fold: its training data are in the executors' memory, and the data
# that it is scored on are made now.
HELD = CANDIDATES + 1

Start = Callable[..., "Job"]


class Job:
    """A run of job.py, in a scene of its own."""

    def __init__(self, scene: Scene, driver: Driver, folder: Path) -> None:
        self.scene = scene
        self.driver = driver
        self._folder = folder

    def wait_until_held(self) -> Path:
        """Until a task stands still; the working folder of its executor."""
        self.driver.wait_until(lambda line: "held" in line, SECONDS)
        self.driver.wait_until(lambda _: any(self._folder.glob("held-?")), SECONDS)
        return Path(next(self._folder.glob("held-?")).read_text())

    def go_on(self) -> None:
        (self._folder / "hold").unlink()

    def wait_until_delivered(self) -> None:
        """Until nothing lies on disk any more."""
        deadline = time.monotonic() + SECONDS
        while self.scene.files():
            assert time.monotonic() < deadline, self.scene.status()
            time.sleep(0.1)

    def scores(self) -> dict[int, list[tuple[int, float]]]:
        """What was said, by candidate: fold and score."""
        found: dict[int, list[tuple[int, float]]] = {}
        for line in self.driver.said():
            if "score" in line:
                found.setdefault(line["x"], []).append((line["fold"], line["score"]))
        return found

    def report(self) -> Report:
        return compare(
            self.scene.store,
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
    """Starts job.py in a scene of its own, by python or by spark-submit."""
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
        scene = Scene(folder, server_uri, more_environ=environ)
        started.append(Job(scene, scene.program(*command), folder))
        return started[-1]

    yield start
    for job in started:
        job.driver.kill_group()


@pytest.fixture(scope="module")
def local(start):
    """The job without a cluster, on as many cores; to compare with."""
    return start("local[2]")


def check_whole_record(job: Job) -> None:
    """Every score and average once and to the last bit, and everything FINISHED."""
    assert job.driver.warnings() == []
    assert job.report().is_clean(), job.report()
    assert job.report().status == {"FINISHED": CANDIDATES + 1}
    store = job.scene.store
    children = store.children(store.only_main_run())
    scores = job.scores()
    assert [store.history(child, METRIC) for child in children] == [
        scores[candidate] for candidate in range(CANDIDATES)
    ]
    said = job.driver.wait_until(lambda line: "averages" in line)
    for key, expected in (("avg", said["averages"]), ("std", said["deviations"])):
        points = [store.history(child, f"{key}_{METRIC}") for child in children]
        assert [value for [(_, value)] in points] == expected
    assert job.scene.files() == []


def structure(job: Job) -> list:
    """What a record says of the search itself: names, params, status, tree, keys and files."""
    store = job.scene.store
    main = store.only_main_run()
    return [
        (
            run.info.run_name,
            run.info.status,
            run.data.params,
            sorted(run.data.metrics),
            sorted(key for key in run.data.tags if key.startswith("trackmllib.")),
            store.files(run),
        )
        for run in (main, *store.children(main))
    ]


def test_a_search_on_a_cluster_by_spark_submit_has_the_record_of_a_local_one(local, cluster, start):
    submitted = start(cluster.uri, submit=True)
    for job in (local, submitted):
        job.driver.finish(SECONDS)
        check_whole_record(job)
    assert submitted.driver.wait_until(lambda line: "ready" in line)["ready"] == cluster.uri
    assert structure(submitted) == structure(local)
    assert submitted.scores() == local.scores()


def test_sync_takes_up_a_job_of_spark_submit_whose_driver_was_killed(cluster, start):
    job = start(cluster.uri, submit=True, held=HELD)
    job.wait_until_held()
    job.driver.kill_group()
    job.go_on()
    (left,) = job.scene.status()["searches"]
    assert left["state"] == "died with its process"
    job.scene.sync()
    report = job.report()
    assert report.is_clean(), report
    assert report.said == HELD - 1
    assert report.status == {"KILLED": CANDIDATES + 1}
    main = job.scene.store.only_main_run()
    assert main.data.metrics["cells_finished"] == HELD - 1
    assert "trackmllib.last_sign_of_life" in main.data.tags
    rows = job.scene.store.results(main)
    assert [float(row["fold_0"]) for row in rows] == [job.scores()[c][0][1] for c in range(4)]
    assert {row["fold_1"] for row in rows} == {""}
    assert job.scene.status() == {"searches": [], "damaged": []}


def test_a_spark_submit_that_is_told_to_end_leaves_nothing_open(start):
    """``kill`` tells its JVM alone: Spark stops under the search, which fails with its scores."""
    job = start("local[2]", submit=True, held=HELD)
    job.wait_until_held()
    job.driver.signal(signal.SIGTERM, 128 + signal.SIGTERM, SECONDS)
    job.go_on()
    job.wait_until_delivered()
    report = job.report()
    assert report.is_clean(), report
    assert report.said == HELD - 1
    assert job.scene.store.only_main_run().info.status == "FAILED"


def test_a_worker_killed_in_the_middle_of_a_cell_changes_nothing_in_the_record(
    local, cluster, start, tmp_path
):
    """Spark runs the lost tasks again on the other worker; the record has no cell twice."""
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
    job.go_on()
    for each in (job, local):
        each.driver.finish(SECONDS)
        check_whole_record(each)
    assert job.scores() == local.scores()
    assert ended_tasks(log)["ExecutorLostFailure"] >= 1


def ended_tasks(log: Path) -> Counter:
    """How many tasks ended for which reason, from Spark's own log of the application."""
    (file,) = log.iterdir()
    events = map(json.loads, file.read_text().splitlines())
    return Counter(
        event["Task End Reason"]["Reason"]
        for event in events
        if event["Event"] == "SparkListenerTaskEnd"
    )
