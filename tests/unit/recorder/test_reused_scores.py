"""The record of a search that reuses scores."""

from __future__ import annotations

import pytest

from support.search_descriptions import FOLDS, describe
from trackmllib.domain.descriptions import PriorScore
from trackmllib.domain.events import ScoreReused, SearchStarted
from trackmllib.domain.operations import CreateChildRun, Destination, LinkSearch
from trackmllib.domain.search_state import SearchState
from trackmllib.recorder.translator import Recorder

pytestmark = pytest.mark.versions


def reused(candidates: int, sources: tuple[str, ...]) -> tuple[SearchState, list]:
    """A search that reuses all its scores, from these searches in turn, and its operations."""
    result = SearchState(
        SearchStarted(search_id="new", time_ms=1000, description=describe(candidates))
    )
    recorder = Recorder(Destination(tracking_uri="http://server"))
    operations: list = []
    for number in range(candidates * FOLDS):
        fold, candidate = divmod(number, candidates)
        event = ScoreReused(
            search_id="new",
            time_ms=2000 + number,
            candidate=candidate,
            fold=fold,
            prior=PriorScore(
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


def test_each_prior_search_is_linked_once():
    result, operations = reused(4, ("a", "b"))
    linked = [each.prior_search_id for each in operations if isinstance(each, LinkSearch)]
    assert linked == ["a", "b"]
    assert sum(isinstance(each, CreateChildRun) for each in operations) == 4
    assert result.reused_from == {"a": 6, "b": 6}
    assert [found.reused for found in result.candidates.values()] == [FOLDS] * 4
    counted = result.snapshot()
    counted.count()
    assert counted.reused_from == result.reused_from
