"""``parallel_folds``: cells of all folds in one pool, and nothing else changes."""

from __future__ import annotations

import threading
import time

import pytest
from pyspark.ml.tuning import CrossValidator
from test_reuse_stages import nothing_is_kept, until

import trackmllib
from searches import stub_search, stub_split, tree_search
from stubs import FitMultipleEstimator, StubEstimator, StubEvaluator

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
    lock, now, most = threading.Lock(), [0], [0]

    def seen(x, dataset):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    stub_search(est=Watched(seen), xs=range(4), numFolds=4, parallelism=3).fit(points)
    assert most == [3]


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_folds_are_kept_than_allowed(points, on, spark, most):
    on(max_cached_folds=most)
    cached = []

    def seen(x, dataset):
        dataset.count()
        cached.append(spark.sparkContext._jsc.getPersistentRDDs().size())

    stub_search(est=Watched(seen), numFolds=4, parallelism=3).fit(points)
    # Each fold has data to train and to validate; that of a fold that is over may still be going.
    assert max(cached) <= 2 * most + 2
    assert cached[-1] == 0  # the refit


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
    assert (order[5], order[10]) == (3.0, 3.0)


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
    on()
    folds: list = []
    failed = threading.Event()

    def seen(x, dataset):
        if dataset not in folds:
            folds.append(dataset)
        if folds.index(dataset) == 1:
            failed.set()
            raise LookupError("second")
        if x == 3.0:
            assert failed.wait(60)
            time.sleep(0.5)

    with pytest.raises(LookupError, match="second"):
        stub_search(est=Watched(seen), numFolds=2, parallelism=2).fit(points)


def test_what_has_no_folds_to_share_is_as_it_was(points, on, caplog):
    recorded = on()
    stub_split(parallelism=2).fit(points)
    stub_search(numFolds=2, parallelism=1).fit(points)
    assert [main.info.status for main in recorded.main_runs()] == ["FINISHED", "FINISHED"]
    assert not [record for record in caplog.records if record.name == "trackmllib"]


def test_models_that_come_in_an_order_of_their_own(points, on):
    recorded = on()
    search = stub_search(est=FitMultipleEstimator(), eva=StubEvaluator(), numFolds=3, parallelism=2)
    model = search.fit(points)
    children = recorded.children(recorded.only_main_run())
    averages = [child.data.metrics["avg_stub"] for child in children]
    assert averages == model.avgMetrics


class OwnFolds(CrossValidator):
    def _kFold(self, dataset):
        return [(train.select("*"), validation) for train, validation in super()._kFold(dataset)]


def test_folds_that_a_subclass_makes_go_one_after_another(points, lenient, caplog, recorded):
    trackmllib.autolog(parallel_folds=True)
    tree_search(kind=OwnFolds, numFolds=2, parallelism=2).fit(points)
    said = [record.getMessage() for record in caplog.records if record.name == "trackmllib"]
    assert [sentence.partition(":")[0] for sentence in said] == [
        "parallel_folds has no effect on a tuner whose _kFold is not Spark's own"
    ]
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
