"""Selection of the candidates that have child runs.

With ``children="best:20"``, child runs are created at the end of the search, unless a candidate
needs its run before.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from trackmllib.config.children import ALL, child_run_limit
from trackmllib.domain.operations import Operation
from trackmllib.domain.ranking import leaderboard, ranked
from trackmllib.domain.search_state import SearchState


def filter_recorded(operations: Iterator[Operation], state: SearchState) -> Iterator[Operation]:
    """Drop the operations on candidates that have no child run yet."""
    if state.children == ALL:
        return operations
    return (each for each in operations if each.candidate is None or each.candidate in state.needed)


def recorded(state: SearchState) -> Iterable[int]:
    """Candidates that have a child run now."""
    if state.children == ALL:
        return state.candidates
    return [*state.needed, *(created_at_end(state) if state.end_ms is not None else ())]


def created_at_end(state: SearchState) -> list[int]:
    """Candidates that get their child run at the end of the search.

    These are the best ones, best first, and then all failed ones.
    """
    number = child_run_limit(state.children)
    if number is None:
        return []
    failed = [index for index, found in sorted(state.candidates.items()) if found.failures]
    without = set(failed)
    best = itertools.islice((index for index in _scored(state) if index not in without), number)
    return [index for index in (*best, *failed) if index not in state.needed]


def _scored(state: SearchState) -> Iterable[int]:
    """Candidates with a score, best first, and the complete ones before all others."""
    complete = (
        index
        for index in ranked(state)
        if state.candidates[index].average is not None or index == state.best
    )
    scored = (each.candidate for each in leaderboard(state) if each.average is not None)
    return dict.fromkeys((*complete, *scored))
