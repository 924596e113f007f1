"""The rank of each candidate, wherever a search is shown as a table."""

from __future__ import annotations

import math

from trackmllib.search_result import SearchResult


def ranks(search: SearchResult) -> dict[int, str]:
    """The rank of each candidate that has one, by index; ``2=`` where others have the same average.

    One whose average is NaN has none, unless Spark took it for the best.
    """
    if search.description.larger_is_better is None:
        return {}
    best = search.best_so_far()
    averages = {index: search.candidates[index].average for index in search.ranked()}
    having = [
        index
        for index, average in averages.items()
        if index == best or (average is not None and not math.isnan(average))
    ]
    first: dict[str, int] = {}
    for number, index in enumerate(having, 1):
        first.setdefault(repr(averages[index]), number)
    count = [repr(averages[index]) for index in having]
    return {
        index: f"{first[said]}{'=' if count.count(said) > 1 else ''}"
        for index, said in zip(having, count, strict=True)
    }
