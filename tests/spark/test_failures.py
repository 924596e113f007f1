"""User errors are raised unchanged; internal errors never reach the user."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback

import mlflow
import pytest
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit
from pyspark.sql.utils import IllegalArgumentException

import trackmllib
from support.searches import stub_search, stub_split
from support.stubs import StubEstimator, StubEvaluator

pytestmark = pytest.mark.versions


class OddError(Exception):
    """A user error with an argument and a message of two lines."""


def fitted(search, data) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any kind is looked at
        search.fit(data)
    return caught.value


def test_user_error_is_raised_unchanged(points, any_store):
    error = OddError("first line\nsecond line")
    search = stub_search(est=StubEstimator(fail={2.0: error}), numFolds=2)
    untracked = fitted(search, points)
    tail = traceback.extract_tb(untracked.__traceback__)[-1]
    context = untracked.__context__
    error.__traceback__ = None
    trackmllib.autolog()
    caught = fitted(search, points)
    assert caught is error
    assert caught.args == ("first line\nsecond line",)
    assert traceback.extract_tb(caught.__traceback__)[-1] == tail
    assert caught.__cause__ is None
    assert caught.__context__ is context is None

    parent = any_store.only_parent_run()
    assert parent.info.status == "FAILED"
    assert parent.data.tags["trackmllib.error"] == "OddError: first line"
    children = any_store.children(parent)
    assert [c.info.status for c in children[:2]] == ["KILLED", "FAILED"]
    assert children[1].data.tags["trackmllib.error"] == "OddError: first line"
    text = any_store.text(children[1], "trackmllib/traceback.txt")
    assert "stubs.py" in text
    assert text.endswith("second line\n")
    assert {c.info.status for c in children} <= {"KILLED", "FAILED"}
    assert mlflow.active_run() is None


@pytest.mark.parametrize("parallelism", [1, 3])
def test_error_of_the_evaluator_fails_its_fit(points, recorded, parallelism):
    def scored():
        children = [c for parent in recorded.parent_runs() for c in recorded.children(parent)]
        return [c.info.run_name for c in children if "stub" in c.data.metrics]

    def fail(prediction):
        if prediction.x == 3.0:
            # A score after the error is not recorded, since the search has failed.
            deadline = time.monotonic() + 60
            while len(scored()) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            raise OddError

    search = stub_search(eva=StubEvaluator(call=fail), numFolds=2, parallelism=parallelism)
    assert type(fitted(search, points)) is OddError
    children = recorded.children(recorded.only_parent_run())
    assert [c.info.status for c in children] == ["KILLED", "KILLED", "FAILED"]
    assert children[2].data.tags["trackmllib.error"] == "OddError"
    assert scored() == ["x=1.0", "x=2.0"]


def test_spark_error_is_raised_unchanged_and_recorded(points, recorded):
    search = TrainValidationSplit(
        estimator=LogisticRegression(featuresCol="nowhere"),
        estimatorParamMaps=[{}],
        evaluator=MulticlassClassificationEvaluator(),
    )
    error = fitted(search, points)
    assert isinstance(error, IllegalArgumentException)
    parent = recorded.only_parent_run()
    assert parent.info.status == "FAILED"
    (child,) = recorded.children(parent)
    assert child.info.status == "FAILED"
    assert "nowhere" in child.data.tags["trackmllib.error"]


def test_failed_search_leaves_the_users_run_active(points, recorded):
    search = stub_search(est=StubEstimator(fail={1.0: OddError()}))
    with mlflow.start_run() as run:
        assert type(fitted(search, points)) is OddError
        assert mlflow.active_run().info.run_id == run.info.run_id
        assert recorded.client.get_run(run.info.run_id).info.status == "RUNNING"
    assert recorded.only_parent_run().info.status == "FINISHED"
    with pytest.raises(OddError), mlflow.start_run() as failing:
        search.fit(points)
    assert recorded.client.get_run(failing.info.run_id).info.status == "FAILED"


def test_failed_refit_keeps_the_scores(points, recorded):
    class NoRefit(StubEstimator):
        def _fit(self, dataset):
            if not dataset.is_cached:
                raise OddError("refit")
            return super()._fit(dataset)

    assert type(fitted(stub_search(est=NoRefit(), numFolds=2), points)) is OddError
    parent = recorded.only_parent_run()
    assert parent.info.status == "FAILED"
    children = recorded.children(parent)
    assert {c.info.status for c in children} == {"FINISHED"}
    assert children[2].data.tags["trackmllib.best"] == "true"
    assert parent.data.params["best_x"] == "3.0"


def ctrl_c(search, points) -> float:
    """Press Ctrl-C during a fit; return the seconds until it is raised."""
    pressed = []

    def press():
        time.sleep(1.5)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        search.fit(points)
    return time.monotonic() - pressed[0]


@pytest.mark.timed
def test_ctrl_c_is_raised_at_once(points, recorded):
    # The running fit ends after 1.5 s.
    assert ctrl_c(stub_search(est=StubEstimator(fitSeconds=3.0), numFolds=2), points) < 1.2
    time.sleep(3)  # Spark's pool ends its fit


def test_runs_end_killed_after_ctrl_c(points, recorded):
    ctrl_c(stub_search(est=StubEstimator(fitSeconds=3.0), numFolds=2), points)
    time.sleep(3)  # Spark's pool ends its fit
    assert trackmllib.flush(60)
    parent = recorded.only_parent_run()
    assert parent.info.status == "KILLED"
    statuses = [c.info.status for c in recorded.children(parent)]
    assert "RUNNING" not in statuses
    assert set(statuses) == {"KILLED"}


def test_fits_still_running_after_the_search_are_not_recorded(points, recorded):
    began, done = threading.Event(), threading.Event()

    class Slow(StubEstimator):
        def _fit(self, dataset):
            if self.getOrDefault(self.x) == 1.0:
                began.wait(10)
                raise OddError
            began.set()
            time.sleep(1.0)
            done.set()
            return super()._fit(dataset)

    search = stub_search(est=Slow(), xs=[1.0, 2.0], parallelism=2)
    assert type(fitted(search, points)) is OddError
    assert done.wait(10)
    time.sleep(0.5)
    children = recorded.children(recorded.only_parent_run())
    assert [c.info.status for c in children] == ["FAILED", "KILLED"]
    assert "stub" not in children[1].data.metrics


def test_refusing_store_causes_one_warning(points, recorded, lenient, caplog):
    """The training continues, and one warning lists what the store rejected."""
    trackmllib.autolog()
    experiment = recorded.experiment_id

    def delete_experiment(prediction):
        if prediction.x == 2.0:
            recorded.client.delete_experiment(experiment)
            time.sleep(0.2)

    search = stub_split(eva=StubEvaluator(call=delete_experiment), xs=[1.0, 2.0, 3.0, 4.0])
    with caplog.at_level(logging.WARNING, logger="trackmllib"):
        model = search.fit(points)
    assert len(model.validationMetrics) == 4
    (warning,) = [r for r in caplog.records if r.name == "trackmllib"]
    text = warning.getMessage()
    assert "is not complete. The training is not affected." in text
    assert experiment in text or "active" in text


def test_bug_in_the_recorder_causes_one_warning(points, recorded, lenient, caplog, monkeypatch):
    """The recorder fails at every event of one kind."""
    from trackmllib.recorder import child_runs

    def broken(*args):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(child_runs, "scored", broken)
    trackmllib.autolog()
    with caplog.at_level(logging.WARNING, logger="trackmllib"):
        model = stub_search(numFolds=2).fit(points)
    assert len(model.avgMetrics) == 3
    (warning,) = [r for r in caplog.records if r.name == "trackmllib"]
    assert "recording FitScored failed: ZeroDivisionError: a bug (6 times)" in warning.getMessage()


def test_strict_raises_internal_errors(points, recorded, monkeypatch):
    from trackmllib.recorder import child_runs

    def broken(*args):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(child_runs, "scored", broken)
    with pytest.raises(ZeroDivisionError):
        stub_search(numFolds=2).fit(points)


def test_silent_prints_no_warning(points, recorded, lenient, caplog):
    trackmllib.autolog(silent=True)
    mlflow.set_tracking_uri("gopher://nowhere")
    with caplog.at_level(logging.INFO, logger="trackmllib"):
        stub_split().fit(points)
    assert [r for r in caplog.records if r.name == "trackmllib"] == []


def test_rejected_value_does_not_affect_its_batch(points, recorded, lenient, caplog):
    """One param of a batch conflicts on the server; the rest of the batch is logged."""
    trackmllib.autolog()
    from trackmllib.tracking import conflicts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conflicts, "resolve_name", lambda name, *rest: name)
        with mlflow.start_run(), caplog.at_level(logging.WARNING, logger="trackmllib"):
            mlflow.log_param("numFolds", "mine")
            stub_search(numFolds=2).fit(points)
    parent = recorded.only_parent_run()
    assert parent.data.params["numFolds"] == "mine"
    assert parent.data.params["seed"]
    assert parent.data.tags["trackmllib.search_id"]
    (warning,) = [r for r in caplog.records if r.name == "trackmllib"]
    assert "numFolds not logged" in warning.getMessage()


def test_no_original_function_is_called_inside_try():
    """Guarantee 2, checked on the source code."""
    import ast
    import inspect

    from trackmllib.spark.instrumentation import proxies, tuners
    from trackmllib.support import patching

    for module in (patching, tuners, proxies):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.Try):
                continue
            called = {ast.unparse(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
            assert not called & {"original", "task", "fit", "self._evaluator.evaluate"}


def test_errors_of_a_model_list_are_sparks_own(points, recorded):
    error = fitted(CrossValidator(), points)
    assert isinstance(error, KeyError)
    parent = recorded.only_parent_run()
    assert parent.info.status == "FAILED"
    assert recorded.children(parent) == []
