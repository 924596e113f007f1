"""Results of a model or a tuner, in the process and loaded from the server."""

from __future__ import annotations

import copy
import gc
import math
import threading

import pytest
from pyspark.ml.tuning import CrossValidatorModel, TrainValidationSplit

import trackmllib
from support.searches import stub_search, stub_split, tree_search
from support.stubs import StubEstimator, StubEvaluator
from trackmllib.reporting import table


def rows(results) -> str:
    """Return all fits as exact text, in which NaN equals NaN."""
    return repr(table.rows(results.search, results.grid, results.runs))


@pytest.mark.parametrize("kind", [pytest.param("split", marks=pytest.mark.slow), "nan", "smaller"])
def test_results_from_the_server_equal_live_results(recorded, points, kind):
    search = {
        "split": lambda: tree_search(TrainValidationSplit),
        "nan": lambda: stub_search(eva=StubEvaluator({2.0: math.nan})),
        "smaller": lambda: stub_search(eva=StubEvaluator(larger=False)),
    }[kind]()
    assert_the_same_from_the_server(trackmllib.results(search.fit(points)))


def assert_the_same_from_the_server(results) -> None:
    loaded = trackmllib.load_results(results.runs.parent)
    assert rows(loaded) == rows(results)
    assert repr(loaded) == repr(results)
    assert loaded.answer == results.answer
    frame, frame_loaded = results.to_pandas(), loaded.to_pandas()
    assert frame.equals(frame_loaded)
    assert list(frame.dtypes) == list(frame_loaded.dtypes)
    assert frame["run_id"].notna().all()


@pytest.mark.slow
def test_best_agrees_with_the_model(recorded, points):
    model = tree_search(parallelism=2).fit(points)
    results = trackmllib.results(model)
    assert_the_same_from_the_server(results)
    best = results.best
    assert best.average == max(model.avgMetrics)
    assert best.candidate == model.avgMetrics.index(best.average)
    assert best.params == {"maxDepth": best.params["maxDepth"], "maxBins": best.params["maxBins"]}
    assert best.params["maxDepth"] == model.bestModel.stages[-1].getMaxDepth()
    assert len(best.folds) == 2
    parent = recorded.only_parent_run()
    child = recorded.children(parent)[best.candidate]
    assert best.run_id == child.info.run_id
    frame = results.to_pandas()
    assert list(frame["average"]) == list(model.avgMetrics)
    assert frame["params.maxDepth"].dtype.kind == "i"
    costs = recorded.history(child, "spark.executorRunTime")
    assert frame["spark.executorRunTime"][best.candidate] == sum(value for _, value in costs)


def test_results_need_no_reachable_server(recorded, points, session, monkeypatch):
    from trackmllib.exceptions import Unavailable

    def away(operation, again=False):
        raise Unavailable("away")

    trackmllib.autolog(wait=False, flush_timeout=0)
    with monkeypatch.context() as patched:
        patched.setattr(session.executor, "apply", away)
        model = stub_search(numFolds=2).fit(points)
        results = trackmllib.results(model)
        assert results.best.run_id is None
        assert list(results.to_pandas()["average"]) == list(model.avgMetrics)
    assert trackmllib.flush(60)
    # The ids are there after delivery.
    assert results.best.run_id is not None


def test_results_of_a_tuner_are_of_its_last_search(recorded, points):
    search = stub_search(numFolds=2)
    first = search.fit(points)
    second = search.fit(points, {search.seed: 5})
    ids = [trackmllib.results(thing).search.search_id for thing in (first, second, search)]
    assert ids[1] == ids[2] != ids[0]


def test_running_or_failed_search_has_partial_results(recorded, points):
    seen = []

    def call(prediction):
        seen.append(trackmllib.results(search))
        if prediction.x == 3.0:
            raise ValueError("no")

    search = stub_search(eva=StubEvaluator(call=call), numFolds=2)
    with pytest.raises(ValueError, match="no"):
        search.fit(points)
    # Each result is a snapshot.
    assert [one.search.fits_finished for one in seen] == [0, 1, 2]
    assert all(one.search.status == "RUNNING" for one in seen)
    assert all("so far" in one.answer or "no " in one.answer.lower() for one in seen)
    after = trackmllib.results(search)
    assert after.search.status == "FAILED"
    assert list(after.to_pandas()["status"]) == ["KILLED", "KILLED", "FAILED"]
    assert rows(trackmllib.load_results(after.runs.parent)) == rows(after)


def test_results_live_as_long_as_the_model_without_attributes_on_it(recorded, points, session):
    remembered = session.results_registry._searches
    search = stub_search(numFolds=2)
    model = search.fit(points)
    assert not any("trackmllib" in name for thing in (model, search) for name in vars(thing))
    before = len(remembered)
    del model, search
    gc.collect()
    assert len(remembered) <= before - 2


@pytest.mark.slow
def test_unknown_model_raises_with_a_hint(recorded, points, tmp_path):
    model = tree_search().fit(points)
    model.write().overwrite().save(str(tmp_path / "model"))
    loaded = CrossValidatorModel.load(str(tmp_path / "model"))
    trackmllib.autolog(disable=True)
    untracked = stub_search(numFolds=2).fit(points)
    for thing in (loaded, copy.copy(model), untracked, StubEstimator(), None):
        with pytest.raises(trackmllib.UnknownSearch, match=r"trackmllib\.load_results\(run_id\)"):
            trackmllib.results(thing)
    assert trackmllib.results(model).best is not None


def test_searches_in_threads_have_results_of_their_own(recorded, points):
    found = {}

    def run(folds):
        found[folds] = trackmllib.results(stub_split().fit(points)).search.search_id

    threads = [threading.Thread(target=run, args=(folds,)) for folds in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[2] != found[3]


def test_results_keep_run_ids_after_later_searches(recorded, points):
    first = stub_search(numFolds=2).fit(points)
    stub_search(numFolds=2).fit(points)
    stub_search(numFolds=2).fit(points)
    best = trackmllib.results(first).best
    assert recorded.client.get_run(best.run_id).data.tags["trackmllib.best"] == "true"
