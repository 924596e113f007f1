"""``parallel_folds``: cells of all folds in one pool, and nothing else changes."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter

import pytest
from pyspark.ml.tuning import CrossValidator
from test_reuse_stages import nothing_is_kept, until

import trackmllib
from searches import fit_within, stub_search, stub_split, tree_search
from stubs import FitMultipleEstimator, ScriptedEstimator, StubEstimator, StubEvaluator

__all__ = ["nothing_is_kept"]


class Watched(StubEstimator):
    """Calls ``seen(x, rows)`` in each fit, with the data as Spark hands it over."""

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


def test_a_fold_begins_before_the_one_before_it_has_ended(points, on):
    """The last cell of the first fold waits until a cell of the second one has begun."""
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
    children = recorded.children(recorded.only_main_run())
    assert len(children) == 3
    assert len(model.avgMetrics) == 3
    assert [len(recorded.history(child, "stub")) for child in children] == [3, 3, 3]


def test_there_are_no_more_cells_at_once_than_threads(points, on):
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


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_folds_are_kept_than_allowed(points, on, spark, most):
    """Eight threads, and three cells a fold: without a limit all four folds would be at work."""
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
    # The data of a fold that is over may still be on its way out.
    assert max(cached) <= most + 1
    assert cached[-1] == 0  # before the refit


def test_what_took_long_in_a_fold_is_first_in_the_next(points, on):
    on(max_cached_folds=1)
    order: list = []
    lock = threading.Lock()

    def seen(x, dataset):
        with lock:
            order.append(x)
        time.sleep(0.4 if x == 3.0 else 0.02)

    stub_search(est=Watched(seen), xs=range(5), numFolds=3, parallelism=2).fit(points)
    assert sorted(order[:5]) == [0, 1, 2, 3, 4]
    # Two threads take their first cells at the same moment.
    assert 3.0 in order[5:7]
    assert 3.0 in order[10:12]


def test_an_error_ends_the_search_with_its_own_type(points, on):
    recorded = on()
    search = stub_search(
        est=StubEstimator(fail={2.0: LookupError("no")}), numFolds=3, parallelism=2
    )
    with pytest.raises(LookupError, match="no"):
        search.fit(points)
    assert trackmllib.flush(60)
    assert recorded.only_main_run().info.status == "FAILED"
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("trackmllib-folds")])


def test_an_error_in_a_later_fold_does_not_wait_for_the_first(points, on):
    """A cell of the first fold runs on until fit() has raised."""
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
    # One traceback, and not that of each cell that waits.
    assert len(error.traceback) < 40


# For each case: how many seconds each candidate takes, which one raises StopIteration, and the
# averages of stock Spark with one thread and with two. What Spark does not hear of counts as 0.0.
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
    # The refit of the best candidate is in no fold.
    refitted = ScriptedEstimator(lambda at, x: None if at == "fit" and is_refit() else call(at, x))
    return stub_search(est=refitted, eva=eva, numFolds=3, **params)


def is_refit() -> bool:
    """Whether this is the thread of ``fit()``, in which Spark fits the best candidate."""
    return threading.current_thread().name == "fit-within"


@pytest.mark.parametrize("step", ["fit", "transform", "evaluate"])
@pytest.mark.parametrize("case", STOPS)
@pytest.mark.parametrize("parallelism", [1, 2])
def test_stop_iteration_ends_a_fold_as_in_stock_spark(points, on, step, case, parallelism):
    seconds, stops, *expected = STOPS[case]
    search = stopping_search(step, seconds, stops, parallelism=parallelism)
    trackmllib.autolog(disable=True)
    stock = fit_within(15, search, points)
    assert stock.avgMetrics == expected[parallelism - 1]
    on()
    model = fit_within(15, search, points)
    assert model.avgMetrics == stock.avgMetrics
    assert model.stdMetrics == stock.stdMetrics
    assert model.bestModel.getOrDefault("x") == stock.bestModel.getOrDefault("x")


@pytest.mark.parametrize("parallelism", [1, 2])
def test_stop_iteration_of_every_candidate_is_no_error(points, on, parallelism):
    on()
    search = stub_search(
        eva=StubEvaluator(call=lambda seen: next(iter(()))), numFolds=3, parallelism=parallelism
    )
    assert fit_within(15, search, points).avgMetrics == [0.0, 0.0, 0.0]


def test_an_error_after_stop_iteration_in_a_fold_is_not_raised(points, on):
    """Spark's loop has left the fold by then."""

    def call(at, x):
        if at == "fit" and x == 2.0:
            raise StopIteration
        if at == "fit" and x == 1.0 and not is_refit():
            time.sleep(0.4)
            raise LookupError("too late")

    search = stub_search(est=ScriptedEstimator(call), numFolds=2, parallelism=2)
    trackmllib.autolog(disable=True)
    stock = fit_within(15, search, points)
    on()
    assert fit_within(15, search, points).avgMetrics == stock.avgMetrics == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["cache", "unpersist"])
def test_what_spark_raises_over_the_data_of_folds(points, on, spark, lenient, monkeypatch, name):
    """What cannot be cached is Spark's own error; what cannot be let go, none."""
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
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("trackmllib-folds")])
    spark.catalog.clearCache()


def test_what_has_no_folds_to_share_is_as_it_was(points, on, caplog):
    recorded = on()
    stub_split(parallelism=2).fit(points)
    stub_search(numFolds=2, parallelism=1).fit(points)
    assert [main.info.status for main in recorded.main_runs()] == ["FINISHED", "FINISHED"]
    assert not [record for record in caplog.records if record.name == "trackmllib"]


class Numbering(StubEstimator):
    """Numbers its fits, the first of which is slow to take its number."""

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


def test_a_single_candidate_of_the_users_own_code_goes_fold_by_fold(points, on):
    """Spark has one thread for it, however many it may have."""

    def search():
        est = Numbering()
        return stub_search(xs=[1.0], est=est, eva=Numbered(), parallelism=2, seed=1)

    trackmllib.autolog(disable=True)
    stock = search().fit(points)
    on()
    model = search().fit(points)
    assert model.avgMetrics == stock.avgMetrics
    assert model.stdMetrics == stock.stdMetrics


def test_an_estimator_with_a_fit_multiple_of_its_own_goes_sparks_way(
    points, recorded, lenient, caplog
):
    """It may compute something when it is handed a fold, which is to be cached then."""
    trackmllib.autolog(parallel_folds=True)
    search = stub_search(est=FitMultipleEstimator(), eva=StubEvaluator(), numFolds=3, parallelism=2)
    model = search.fit(points)
    children = recorded.children(recorded.only_main_run())
    assert [child.data.metrics["avg_stub"] for child in children] == model.avgMetrics
    (said,) = [record.getMessage() for record in caplog.records if record.name == "trackmllib"]
    assert "FitMultipleEstimator has a fitMultiple of its own" in said


class OwnFolds(CrossValidator):
    def _kFold(self, dataset):
        return [(train.select("*"), validation) for train, validation in super()._kFold(dataset)]


def test_folds_that_a_subclass_makes_go_one_after_another(points, lenient, caplog, recorded):
    trackmllib.autolog(parallel_folds=True)
    tree_search(kind=OwnFolds, numFolds=2, parallelism=2).fit(points)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "trackmllib"]
    assert said.startswith("parallel_folds has no effect: the folds of this tuner are not those")
    assert recorded.only_main_run().info.status == "FINISHED"


def test_a_folder_in_the_place_of_the_cache(
    points, lenient, caplog, recorded, monkeypatch, tmp_path
):
    """From pyspark 4.1 on: then Spark's loop hands over other data than it was given."""
    util = pytest.importorskip("pyspark.ml.util")
    monkeypatch.setenv("SPARKML_TEMP_DFS_PATH", str(tmp_path / "dfs"))
    trackmllib.autolog(parallel_folds=True, reuse_stages=True)
    tree_search(numFolds=2, parallelism=2).fit(points)
    said = [record.getMessage() for record in caplog.records if record.name == "trackmllib"]
    # An older one knows of no such folder.
    assert len(said) == hasattr(util, "_SPARKML_TEMP_DFS_PATH")
    assert all("somewhere else than in its cache" in sentence for sentence in said)
    assert recorded.only_main_run().info.status == "FINISHED"


def test_the_folds_column_and_sub_models(points, on):
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
