"""Costs of Spark's jobs by fit, and their names on the Spark UI."""

from __future__ import annotations

import re
import threading
import time
from types import SimpleNamespace

import mlflow
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.ml import tuning
from pyspark.ml.classification import LogisticRegression, OneVsRest
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel

import trackmllib
from support.searches import stub_search, tree_search
from support.stubs import SearchingEstimator, StubEstimator, StubEvaluator
from trackmllib.domain.descriptions import Cost
from trackmllib.spark.job_metrics import collector, search_metrics
from trackmllib.spark.job_metrics.status_store import JobsDropped, StatusStore
from trackmllib.spark.job_metrics.ui_links import YARN_HISTORY, ui_links

pytestmark = pytest.mark.versions

NAMES = list(Cost().by_name())
STAGE_METRICS = [name for name in NAMES if name != "numJobs"]


def option(found):
    return found.get() if found.isDefined() else None


def words(found) -> list[str]:
    return [word for word in found.mkString(",").split(",") if word]


@pytest.fixture
def jobs_since(spark):
    """Return a function that reads the test's jobs from Spark's status store."""
    scala = spark.sparkContext._jsc.sc()
    first = scala.dagScheduler().numTotalJobs()

    def read(since: int = first) -> list[SimpleNamespace]:
        scala.listenerBus().waitUntilEmpty(10_000)
        found = [
            scala.statusStore().job(number)
            for number in range(since, scala.dagScheduler().numTotalJobs())
        ]
        return [
            SimpleNamespace(
                description=option(job.description()),
                group=option(job.jobGroup()),
                tags=words(job.jobTags()),
                stages=[int(number) for number in words(job.stageIds())],
            )
            for job in found
        ]

    return read


@pytest.fixture
def totals(spark):
    """Return a function that adds up the costs of jobs independently of trackmllib."""
    store = spark.sparkContext._jsc.sc().statusStore()

    def last_attempt(number):
        try:
            return store.lastStageAttempt(number)
        except Py4JJavaError:
            # Spark drops skipped stages first; they cost nothing.
            return None

    def read(jobs) -> dict[str, float]:
        numbers = sorted({number for job in jobs for number in job.stages})
        stages = [stage for stage in map(last_attempt, numbers) if stage is not None]
        of_stages = {
            name: float(sum(getattr(stage, name)() for stage in stages)) for name in STAGE_METRICS
        }
        return {**of_stages, "numJobs": float(len(jobs))}

    return read


def costs(run) -> dict[str, float]:
    found = {k.partition(".")[2]: v for k, v in run.data.metrics.items() if k.startswith("spark.")}
    return {name: found[name] for name in NAMES if name in found}


def summed(store, children) -> dict[str, float]:
    """Return the costs of all fits of candidates; each must have a cost for each fold."""
    total = dict.fromkeys(NAMES, 0.0)
    for child in children:
        for name in NAMES:
            points = store.history(child, f"spark.{name}")
            assert [step for step, _ in points] == list(range(len(points)))
            total[name] += sum(value for _, value in points)
    return total


def one_vs_rest(**params):
    """A search whose fits start threads of their own."""
    regression = LogisticRegression(maxIter=2)
    estimator = OneVsRest(classifier=regression, parallelism=2)
    return CrossValidator(
        estimator=estimator,
        estimatorParamMaps=[
            {estimator.classifier: LogisticRegression(maxIter=2, regParam=reg)}
            for reg in (0.0, 0.1)
        ],
        evaluator=MulticlassClassificationEvaluator(),
        numFolds=2,
        seed=1,
        **params,
    )


@pytest.mark.slow
def test_fits_have_their_costs_and_parent_run_has_the_total(recorded, points, jobs_since, totals):
    tree_search(parallelism=2).fit(points)
    jobs = jobs_since()
    jobs_are_named_after_their_fits(recorded, jobs)
    parent = recorded.only_parent_run()
    assert costs(parent) == totals(jobs)
    children = recorded.children(parent)
    of_fits = [job for job in jobs if "fold" in (job.description or "")]
    assert summed(recorded, children) == totals(of_fits)
    assert {len(recorded.history(child, "spark.numJobs")) for child in children} == {2}
    for child in children:
        mine = [j for j in of_fits if j.description.startswith(child.info.run_name + " ·")]
        assert summed(recorded, [child]) == totals(mine)
        assert summed(recorded, [child])["executorRunTime"] > 0


def jobs_are_named_after_their_fits(recorded, jobs):
    search_id = recorded.only_parent_run().data.tags["trackmllib.search_id"]
    assert all(f"trackmllib:{search_id}" in job.tags for job in jobs)
    described = [job.description for job in jobs]
    for fold in ("1/2", "2/2"):
        for doing in ("fit", "evaluate"):
            assert f"maxDepth=3, maxBins=8 · fold {fold} · {doing}" in described
    assert all(text.endswith((" · fit", " · evaluate", " · refit")) for text in described)
    refits = [job for job in jobs if job.description.endswith(" · refit")]
    best = [
        c for c in recorded.children(recorded.only_parent_run()) if "trackmllib.best" in c.data.tags
    ]
    assert {job.description for job in refits} == {f"{best[0].info.run_name} · refit"}
    # In the order in which they ran: only the refit follows the last fit.
    assert jobs[-len(refits) :] == refits


def test_job_properties_of_the_user_are_restored(spark, recorded, points, jobs_since):
    context = spark.sparkContext
    context.setJobGroup("mine", "nightly")
    context.addJobTag("team")
    context.setLocalProperty("spark.scheduler.pool", "slow")
    evaluator = StubEvaluator(call=lambda _: points.count())
    stub_search(eva=evaluator, numFolds=2, parallelism=2).fit(points)
    jobs = jobs_since()
    assert {job.group for job in jobs} == {"mine"}
    assert all("team" in job.tags for job in jobs)
    assert {job.description for job in jobs if "fold" in job.description} == {
        f"nightly · x={x} · fold {fold}/2 · evaluate"
        for x in ("1.0", "2.0", "3.0")
        for fold in (1, 2)
    }
    assert set(context.getJobTags()) == {"team"}
    assert context.getLocalProperty("spark.job.description") == "nightly"
    assert context.getLocalProperty("spark.jobGroup.id") == "mine"
    assert context.getLocalProperty("spark.scheduler.pool") == "slow"


@pytest.mark.parametrize("error", [None, ValueError("no")])
def test_no_job_property_of_ours_stays_in_the_thread(spark, recorded, points, error):
    fail = {2.0: error} if error else {}
    search = stub_search(est=StubEstimator(fail=fail), numFolds=2)
    try:
        search.fit(points)
    except ValueError:
        assert error
    assert set(spark.sparkContext.getJobTags()) == set()
    assert spark.sparkContext.getLocalProperty("spark.job.description") is None
    assert spark.sparkContext.getLocalProperty("spark.job.tags") is None


def test_job_description_that_the_user_sets_in_a_fit_stays(spark, recorded, points, jobs_since):
    def call(prediction):
        if prediction.x == 1.0:
            spark.sparkContext.setJobDescription("my own")
        points.count()

    stub_search(xs=[1.0, 2.0], eva=StubEvaluator(call=call), numFolds=2).fit(points)
    described = [job.description for job in jobs_since()]
    assert described.count("my own") == 2 * described.count("x=2.0 · fold 2/2 · evaluate")
    assert "x=2.0 · fold 2/2 · evaluate" in described


@pytest.mark.slow
def test_jobs_of_threads_started_by_spark_count_for_the_fit(recorded, points, jobs_since, totals):
    one_vs_rest(parallelism=2).fit(points)
    jobs = jobs_since()
    parent = recorded.only_parent_run()
    assert costs(parent) == totals(jobs)
    of_fits = [job for job in jobs if " · fold " in job.description]
    assert summed(recorded, recorded.children(parent)) == totals(of_fits)
    assert len(of_fits) > 8


@pytest.mark.slow
def test_costs_that_the_background_thread_emits_late_are_recorded(recorded, points, monkeypatch):
    measured = search_metrics.FitCostMeasured
    late = []

    def emit_late(**fields):
        if threading.current_thread().name == "trackmllib-costs":
            # Unless the search waits, it ends in the meantime.
            time.sleep(2)
            late.append(fields)
        return measured(**fields)

    monkeypatch.setattr(collector, "READ_SECONDS", 0.05)
    monkeypatch.setattr(search_metrics, "FitCostMeasured", emit_late)
    evaluator = StubEvaluator(call=lambda _: points.count())
    estimator = StubEstimator(fitSeconds=0.5)
    stub_search(xs=[1.0, 2.0], est=estimator, eva=evaluator, numFolds=2).fit(points)
    assert late
    of_fits = recorded.children(recorded.only_parent_run())
    assert [len(recorded.history(child, "spark.numJobs")) for child in of_fits] == [2, 2]


def test_jobs_of_unknown_threads_count_for_the_parent_run(recorded, points, jobs_since, totals):
    def call(prediction):
        # Neither Spark nor trackmllib knows which fit started this thread.
        thread = threading.Thread(target=points.count)
        thread.start()
        thread.join()

    stub_search(eva=StubEvaluator(call=call), numFolds=2).fit(points)
    jobs = jobs_since()
    parent = recorded.only_parent_run()
    assert costs(parent) == totals(jobs)
    assert costs(parent)["numJobs"] >= 6
    assert [costs(child) for child in recorded.children(parent)] == [{}, {}, {}]


@pytest.mark.slow
def test_nested_search_counts_for_itself_and_for_its_fit(recorded, points, jobs_since, totals):
    inner = stub_search(eva=StubEvaluator(call=lambda _: points.count()), numFolds=2)
    estimator = SearchingEstimator(inner)
    evaluator = StubEvaluator(call=lambda _: points.count())
    stub_search(est=estimator, xs=[1.0], eva=evaluator, numFolds=2).fit(points)
    jobs = jobs_since()
    # After the inner search, its outer fit continues under its own name.
    assert {"x=1.0 · fold 1/2 · evaluate", "x=1.0 · fold 2/2 · evaluate"} <= {
        job.description for job in jobs
    }
    parent = recorded.only_parent_run()
    assert costs(parent) == totals(jobs)
    (child,) = recorded.children(parent)
    of_inner = [costs(run) for run in recorded.inner(child)]
    assert len(of_inner) == 2
    in_fits = [job for job in jobs if job.description.startswith("x=1.0 · fold ")]
    assert summed(recorded, [child]) == totals(in_fits)
    # Jobs of the inner searches have tags of both.
    of_inner_too = [job for job in in_fits if len(re.findall("trackmllib:", str(job.tags))) > 2]
    assert {name: sum(of[name] for of in of_inner) for name in NAMES} == totals(of_inner_too)
    assert any(" · x=1.0 · " in f" · {job.description}" for job in jobs)


def test_failed_tasks_and_fits_are_counted(spark, recorded, points, jobs_since, totals):
    def call(prediction):
        if prediction.x == 2.0:
            spark.sparkContext.parallelize([1, 2], 2).foreach(lambda x: 1 / 0)

    with pytest.raises(Exception, match="ZeroDivision"):
        stub_search(xs=[1.0, 2.0], eva=StubEvaluator(call=call), numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    failed = recorded.children(parent)[1]
    assert costs(failed)["numFailedTasks"] >= 1
    assert costs(parent) == totals(jobs_since())


def test_search_without_jobs_has_no_costs(recorded, points):
    stub_search(numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    assert costs(parent) == {}
    assert [costs(child) for child in recorded.children(parent)] == [{}, {}, {}]


@pytest.mark.slow
def test_unreadable_costs_warn_once(recorded, points, lenient, caplog, monkeypatch):
    def forgotten(self):
        raise JobsDropped

    monkeypatch.setattr(StatusStore, "ended", forgotten)
    for _ in range(2):
        with mlflow.start_run():
            stub_search(eva=StubEvaluator(call=lambda _: points.count()), numFolds=2).fit(points)
    (message,) = [r.getMessage() for r in caplog.records if "cost" in r.getMessage()]
    assert "spark.ui.retainedJobs" in message
    assert trackmllib.flush(30)
    for parent in recorded.parent_runs():
        assert costs(parent) == {}
        assert len(recorded.children(parent)) == 3


def test_parent_run_links_to_the_spark_ui(spark, recorded, points, monkeypatch):
    trackmllib.autolog(history_server="history:18080")
    monkeypatch.setattr(type(spark.sparkContext), "uiWebUrl", "http://driver:4040")
    stub_search(numFolds=2).fit(points)
    tags = recorded.only_parent_run().data.tags
    application = spark.sparkContext.applicationId
    assert tags["trackmllib.application_id"] == application
    assert tags["trackmllib.spark_ui"] == "http://driver:4040"
    assert tags["trackmllib.spark_history"] == f"http://history:18080/history/{application}/"


@pytest.mark.parametrize(
    ("conf", "given", "wanted"),
    [
        ("history.example.com:19888", None, "http://history.example.com:19888/history/app-1/"),
        ("history:1", "https://other/", "https://other/history/app-1/"),
        (None, None, None),
    ],
)
def test_history_server_on_yarn(conf, given, wanted):
    context = SimpleNamespace(
        applicationId="app-1", uiWebUrl=None, getConf=lambda: {YARN_HISTORY: conf} if conf else {}
    )
    dataset = SimpleNamespace(sparkSession=SimpleNamespace(sparkContext=context))
    assert ui_links(dataset, given) == (None, wanted)


@pytest.mark.slow
def test_ctrl_c_while_reading_costs_ends_the_search(recorded, points, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StatusStore, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stub_search(numFolds=2).fit(points)
    assert trackmllib.flush(30)
    parent = recorded.only_parent_run()
    assert parent.info.status == "KILLED"
    assert {child.info.status for child in recorded.children(parent)} == {"FINISHED"}
    # The next search is unaffected.
    with mlflow.start_run() as run:
        stub_search(eva=StubEvaluator(call=lambda _: points.count()), numFolds=2).fit(points)
    assert costs(mlflow.get_run(run.info.run_id))["numJobs"] == 3 * 2


class InOwnThreads(CrossValidator):
    """A subclass that computes each of Spark's fits in a thread pool of its own."""

    def _fit(self, dataset):
        context = dataset.sparkSession.sparkContext
        train, validation = self._kFold(dataset)[0]
        tasks = tuning._parallelFitTasks(
            self.getEstimator(),
            train,
            self.getEvaluator(),
            validation,
            self.getEstimatorParamMaps(),
            False,
        )
        self.found = []

        def run(index, task):
            context.setLocalProperty("spark.scheduler.pool", f"pool-{index}")
            context.addJobTag(f"mine-{index}")
            scores.append(task())
            self.found.append(
                (
                    context.getLocalProperty("spark.scheduler.pool") == f"pool-{index}",
                    set(context.getJobTags()) == {f"mine-{index}"},
                    context.getLocalProperty("spark.job.description"),
                )
            )

        scores = []
        threads = [
            threading.Thread(target=run, args=(index, task)) for index, task in enumerate(tasks)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        averages = [score for _, score, _ in sorted(scores, key=lambda result: result[0])]
        best = self.getEstimator().fit(dataset, self.getEstimatorParamMaps()[0])
        return CrossValidatorModel(best, averages)


def test_threads_of_a_subclass_keep_their_own_properties(recorded, points, jobs_since):
    search = stub_search(
        kind=InOwnThreads, eva=StubEvaluator(call=lambda _: points.count()), numFolds=2
    )
    search.fit(points)
    assert search.found == [(True, True, None)] * 3
    in_fits = [job for job in jobs_since() if (job.description or "").endswith("evaluate")]
    assert in_fits
    for job in in_fits:
        assert len([tag for tag in job.tags if tag.startswith("mine-")]) == 1
        assert len([tag for tag in job.tags if tag.startswith("trackmllib:")]) == 2
    children = recorded.children(recorded.only_parent_run())
    assert all(costs(child)["numJobs"] > 0 for child in children)
