"""``parallel_folds`` computes the fits of all folds in one pool, with stock Spark's results."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from contextlib import suppress

import pytest
from pyspark.ml.tuning import CrossValidator

import trackmllib
from support.searches import fit_within, stub_search, stub_split, tree_search
from support.stubs import FitMultipleEstimator, ScriptedEstimator, StubEstimator, StubEvaluator
from support.waiting import wait_until

pytestmark = [pytest.mark.usefixtures("nothing_stays_cached"), pytest.mark.versions]


class Watched(StubEstimator):
    """Calls ``seen(x, dataset)`` in each fit, with the data that Spark passes."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def _fit(self, dataset):
        self.seen(self.getOrDefault(self.x), dataset)
        return super()._fit(dataset)


@pytest.fixture
def on(recorded):
    def switch(**options):
        trackmllib.autolog(parallel_folds=True, progress=False, **options)
        return recorded

    return switch


def test_next_fold_starts_before_the_previous_one_ends(points, on):
    """The last fit of the first fold waits until a fit of the second one has started."""
    recorded = on()
    folds: list = []
    second = threading.Event()

    def seen(x, dataset):
        if dataset not in folds:
            folds.append(dataset)
        if folds.index(dataset) == 1:
            second.set()
        if x == 3.0 and folds.index(dataset) == 0:
            assert second.wait(60)

    model = stub_search(est=Watched(seen), numFolds=3, parallelism=2).fit(points)
    assert len(folds) == 3 + 1  # and the data of the refit
    children = recorded.children(recorded.only_parent_run())
    assert len(children) == 3
    assert len(model.avgMetrics) == 3
    assert [len(recorded.history(child, "stub")) for child in children] == [3, 3, 3]


def test_parallelism_limits_concurrent_fits(points, on):
    on()
    lock, now, most, begun = threading.Lock(), [0], [0], [0]
    # The first three wait for each other, however busy the machine is.
    together = threading.Barrier(3, timeout=60)

    def seen(x, dataset):
        with lock:
            now[0] += 1
            begun[0] += 1
            most[0] = max(most[0], now[0])
            is_early = begun[0] <= 3
        if is_early:
            together.wait()
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    stub_search(est=Watched(seen), xs=range(4), numFolds=4, parallelism=3).fit(points)
    assert most == [3]


@pytest.mark.parametrize("most", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_max_cached_folds_limits_cached_folds(points, on, spark, most):
    """Eight threads, three fits per fold: without a limit, all four folds would be in progress."""
    on(max_cached_folds=most)
    folds: list = []
    lock, running, at_once, cached = threading.Lock(), Counter(), [], []

    def seen(x, dataset):
        with lock:
            if dataset not in folds:
                folds.append(dataset)
            running[folds.index(dataset)] += 1
            at_once.append(sum(count > 0 for count in running.values()))
        dataset.count()
        cached.append(spark.sparkContext._jsc.getPersistentRDDs().size())
        time.sleep(0.05)
        with lock:
            running[folds.index(dataset)] -= 1

    stub_search(est=Watched(seen), numFolds=4, parallelism=8).fit(points)
    assert max(at_once) == most
    # The data of a fold that has ended may not be released yet.
    assert max(cached) <= most + 1
    assert cached[-1] == 0  # before the refit


def test_slowest_candidate_is_first_in_the_next_fold(points, on):
    on(max_cached_folds=1)
    order: list = []
    lock = threading.Lock()

    def seen(x, dataset):
        with lock:
            order.append(x)
        time.sleep(0.4 if x == 3.0 else 0.02)

    stub_search(est=Watched(seen), xs=range(5), numFolds=3, parallelism=2).fit(points)
    assert sorted(order[:5]) == [0, 1, 2, 3, 4]
    # Two threads take their first fits at the same moment.
    assert 3.0 in order[5:7]
    assert 3.0 in order[10:12]


def test_error_ends_the_search_with_its_own_type(points, on):
    recorded = on()
    search = stub_search(
        est=StubEstimator(fail={2.0: LookupError("no")}), numFolds=3, parallelism=2
    )
    with pytest.raises(LookupError, match="no"):
        search.fit(points)
    assert trackmllib.flush(60)
    assert recorded.only_parent_run().info.status == "FAILED"
    wait_until(
        lambda: not [t for t in threading.enumerate() if t.name.startswith("trackmllib-folds")]
    )


def test_error_in_a_later_fold_does_not_wait_for_the_first(points, on):
    """A fit of the first fold runs on until fit() has raised."""
    on()
    folds: list = []
    raised = threading.Event()

    def seen(x, dataset):
        if dataset not in folds:
            folds.append(dataset)
        if folds.index(dataset) == 1:
            raise LookupError("second")
        if x == 3.0:
            assert raised.wait(60)

    with pytest.raises(LookupError, match="second") as error:
        stub_search(est=Watched(seen), numFolds=2, parallelism=2).fit(points)
    raised.set()
    # One traceback, without those of the fits that wait.
    assert len(error.traceback) < 40


# For each case: the seconds that each candidate takes, the candidate that raises StopIteration, and
# the averages of stock Spark with one thread and with two. Scores not received count as 0.0.
STOPS = {
    "in the middle": ((0.0, 0.3, 0.9), 2.0, [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
    "first and slow": ((0.6, 0.0, 0.0), 1.0, [0.0, 0.0, 0.0], [0.0, 2.0, 3.0]),
    "last and quick": ((0.3, 0.9, 0.0), 3.0, [1.0, 2.0, 0.0], [1.0, 0.0, 0.0]),
}


def stopping_search(step, seconds, stops, **params):
    def call(at, x):
        if at == step:
            time.sleep(seconds[int(x) - 1])
            if x == stops:
                next(iter(()))

    eva = StubEvaluator(
        scores={x: x for x in (1.0, 2.0, 3.0)}, call=lambda seen: call("evaluate", seen.x)
    )
    # The refit of the best candidate belongs to no fold.
    refitted = ScriptedEstimator(lambda at, x: None if at == "fit" and is_refit() else call(at, x))
    return stub_search(est=refitted, eva=eva, numFolds=3, **params)


def is_refit() -> bool:
    """Whether this is the thread of ``fit()``, in which Spark fits the best candidate."""
    return threading.current_thread().name == "fit-within"


@pytest.mark.slow
@pytest.mark.parametrize("step", ["fit", "transform", "evaluate"])
@pytest.mark.parametrize("case", STOPS)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_stop_iteration_ends_a_fold_as_in_stock_spark(points, on, step, case, parallelism):
    seconds, stops, *expected = STOPS[case]

    def averages(scale):
        search = stopping_search(
            step, [scale * each for each in seconds], stops, parallelism=parallelism
        )
        trackmllib.autolog(disable=True)
        stock = fit_within(60, search, points)
        on()
        model = fit_within(60, search, points)
        return [
            (one.avgMetrics, one.stdMetrics, one.bestModel.getOrDefault("x"))
            for one in (stock, model)
        ]

    # A busy machine may change the order in which candidates end, so the longer the differences
    # are, the better.
    for scale in (0.3, 2.0, 10.0):
        stock, found = averages(scale)
        if stock[0] == expected[parallelism - 1] and found == stock:
            return
    raise AssertionError((stock, found, expected))


@pytest.mark.parametrize("parallelism", [1, 2])
def test_stop_iteration_of_every_candidate_is_no_error(points, on, parallelism):
    on()
    search = stub_search(
        eva=StubEvaluator(call=lambda seen: next(iter(()))), numFolds=3, parallelism=parallelism
    )
    assert fit_within(15, search, points).avgMetrics == [0.0, 0.0, 0.0]


def test_error_after_stop_iteration_is_not_raised(points, on):
    """Spark's loop has ended the fold by then."""

    def averages(pause):
        def call(at, x):
            if at == "fit" and x == 2.0:
                raise StopIteration
            if at == "fit" and x == 1.0 and not is_refit():
                time.sleep(pause)
                raise LookupError("too late")

        search = stub_search(est=ScriptedEstimator(call), numFolds=2, parallelism=2)
        limit = max(15, 5 * pause)
        trackmllib.autolog(disable=True)
        stock = fit_within(limit, search, points)
        on()
        return [one.avgMetrics for one in (stock, fit_within(limit, search, points))]

    # On a busy machine, the error may come before the other candidates end, so the longer the
    # pause is, the better.
    for pause in (0.4, 2.0):
        with suppress(LookupError):
            assert averages(pause) == [[0.0, 0.0, 0.0]] * 2
            return
    assert averages(10.0) == [[0.0, 0.0, 0.0]] * 2


@pytest.mark.parametrize("name", ["cache", "unpersist"])
def test_only_cache_errors_are_raised(points, on, spark, lenient, monkeypatch, name):
    """Failing to cache data is Spark's own error; failing to release it is ignored."""
    on()

    def broken(self, *args, **kwargs):
        raise ConnectionError("gone")

    monkeypatch.setattr(type(points), name, broken)
    search = stub_search(numFolds=3, parallelism=2)
    if name == "unpersist":
        assert len(search.fit(points).avgMetrics) == 3
    else:
        with pytest.raises(ConnectionError, match="gone"):
            search.fit(points)
    wait_until(
        lambda: not [t for t in threading.enumerate() if t.name.startswith("trackmllib-folds")]
    )
    spark.catalog.clearCache()


def test_split_and_single_thread_are_unchanged(points, on, caplog):
    recorded = on()
    stub_split(parallelism=2).fit(points)
    stub_search(numFolds=2, parallelism=1).fit(points)
    assert [parent.info.status for parent in recorded.parent_runs()] == ["FINISHED", "FINISHED"]
    assert not [record for record in caplog.records if record.name == "trackmllib"]


class Numbering(StubEstimator):
    """Numbers its fits; the first one takes its number late."""

    def __init__(self):
        super().__init__()
        self.begun, self.numbers = itertools.count(), itertools.count(1)

    def _fit(self, dataset):
        time.sleep(0.0 if next(self.begun) else 0.5)
        return super()._fit(dataset)._set(y=float(next(self.numbers)))


class Numbered(StubEvaluator):
    def _evaluate(self, prediction):
        super()._evaluate(prediction)
        return prediction.y * prediction.dataset.count()


@pytest.mark.slow
def test_single_candidate_of_user_code_runs_fold_by_fold(points, on):
    """Spark uses one thread for it, whatever ``parallelism`` is."""

    def search():
        est = Numbering()
        return stub_search(xs=[1.0], est=est, eva=Numbered(), parallelism=2, seed=1)

    trackmllib.autolog(disable=True)
    stock = search().fit(points)
    on()
    model = search().fit(points)
    assert model.avgMetrics == stock.avgMetrics
    assert model.stdMetrics == stock.stdMetrics


def test_own_fit_multiple_runs_fold_by_fold(points, recorded, lenient, caplog):
    """It may compute something when Spark passes it a fold, so the fold must be cached then."""
    trackmllib.autolog(parallel_folds=True)
    search = stub_search(est=FitMultipleEstimator(), eva=StubEvaluator(), numFolds=3, parallelism=2)
    model = search.fit(points)
    children = recorded.children(recorded.only_parent_run())
    assert [child.data.metrics["avg_stub"] for child in children] == model.avgMetrics
    (message,) = [record.getMessage() for record in caplog.records if record.name == "trackmllib"]
    assert message == (
        "parallel_folds has no effect: FitMultipleEstimator has its own fitMultiple. "
        "Folds are computed one after another."
    )


class OwnFolds(CrossValidator):
    def _kFold(self, dataset):
        return [(train.select("*"), validation) for train, validation in super()._kFold(dataset)]


@pytest.mark.slow
def test_own_folds_run_one_after_another(points, lenient, caplog, recorded):
    trackmllib.autolog(parallel_folds=True)
    stub_search(kind=OwnFolds, numFolds=2, parallelism=2).fit(points)
    (message,) = [record.getMessage() for record in caplog.records if record.name == "trackmllib"]
    assert message == (
        "parallel_folds has no effect: this tuner does not use the folds that pyspark.ml.tuning "
        "makes. Folds are computed one after another."
    )
    assert recorded.only_parent_run().info.status == "FINISHED"


@pytest.mark.slow
def test_temp_dfs_path_runs_folds_one_after_another(
    points, lenient, caplog, recorded, monkeypatch, tmp_path
):
    """From pyspark 4.1 on, Spark's loop then passes other DataFrames than ``_kFold`` returned."""
    util = pytest.importorskip("pyspark.ml.util")
    monkeypatch.setenv("SPARKML_TEMP_DFS_PATH", str(tmp_path / "dfs"))
    trackmllib.autolog(parallel_folds=True, reuse_stages=True)
    # A pipeline, for reuse_stages.
    tree_search(numFolds=2, parallelism=2).fit(points)
    messages = [record.getMessage() for record in caplog.records if record.name == "trackmllib"]
    # Older versions have no such folder.
    assert len(messages) == hasattr(util, "_SPARKML_TEMP_DFS_PATH")
    assert all("outside its cache" in sentence for sentence in messages)
    assert recorded.only_parent_run().info.status == "FINISHED"


@pytest.mark.slow
def test_fold_column_and_sub_models_equal_stock_spark(points, on):
    on(reuse_stages=True)
    search = tree_search(foldCol="fold", collectSubModels=True, parallelism=3)
    model = search.fit(points)
    trackmllib.autolog(disable=True)
    stock = tree_search(foldCol="fold", collectSubModels=True, parallelism=3).fit(points)
    assert model.avgMetrics == stock.avgMetrics
    assert model.stdMetrics == stock.stdMetrics

    def trees(found):
        return [[one.stages[-1].toDebugString for one in fold] for fold in found.subModels]

    def shape(text):
        return text.partition("\n")[2]

    assert [[shape(t) for t in fold] for fold in trees(model)] == [
        [shape(t) for t in fold] for fold in trees(stock)
    ]
