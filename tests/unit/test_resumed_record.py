"""What the record of a search says that goes on with scores of others."""

from __future__ import annotations

from made import FOLDS, description
from trackmllib.events import CellTakenUp, Earlier, SearchStarted
from trackmllib.operations import CreateChildRun, Destination, LinkSearch
from trackmllib.recorder.record import Recorder
from trackmllib.search_result import SearchResult


def taken_up(candidates: int, sources: tuple[str, ...]) -> tuple[SearchResult, list]:
    """A search all of whose scores are taken up, from these in turn; and its operations."""
    result = SearchResult(
        SearchStarted(search_id="new", time_ms=1000, description=description(candidates))
    )
    recorder = Recorder(Destination(tracking_uri="http://server"), result)
    operations: list = []
    for number in range(candidates * FOLDS):
        fold, candidate = divmod(number, candidates)
        event = CellTakenUp(
            search_id="new",
            time_ms=2000 + number,
            candidate=candidate,
            fold=fold,
            earlier=Earlier(
                score=0.5,
                fit_seconds=1.0,
                evaluate_seconds=0.5,
                start_ms=1,
                end_ms=2,
                search_id=sources[number % len(sources)],
            ),
        )
        result.apply(event)
        operations += recorder.operations(event, result)
    return result, operations


def test_each_source_is_linked_once_and_each_child_made_once():
    result, operations = taken_up(4, ("a", "b"))
    linked = [each.earlier for each in operations if isinstance(each, LinkSearch)]
    assert linked == ["a", "b"]
    assert sum(isinstance(each, CreateChildRun) for each in operations) == 4
    assert result.taken_from == {"a": 6, "b": 6}
    assert [found.taken_up for found in result.candidates.values()] == [FOLDS] * 4
    counted = result.snapshot()
    counted.count()
    assert counted.taken_from == result.taken_from
