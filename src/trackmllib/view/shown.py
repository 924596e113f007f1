"""What is shown of a search while it runs: how far it is, and one line of words."""

from __future__ import annotations

from dataclasses import dataclass

from trackmllib import names, plural
from trackmllib.estimate import in_words, left_in_words, seconds_left
from trackmllib.names import GridNames
from trackmllib.search_result import SearchResult
from trackmllib.standing import leader, won_with_nan


@dataclass(frozen=True, kw_only=True)
class Shown:
    """``done`` of ``total`` cells, and all there is to say in a line without control characters.

    Of a search that has finished all is done, whoever saw its cells.
    """

    done: int
    total: int
    words: str


def look(result: SearchResult, grid: GridNames, now_ms: int) -> Shown:
    """The search as it stands. Whoever calls it holds the lock of the search."""
    total = len(result.description.candidates) * result.folds
    done = min(total, sum(found.scored for found in result.candidates.values()))
    counted = f"{done:,} of {plural.count(total, 'cell')}"
    match result.status:
        case "RUNNING":
            words = [counted, *_running(result, grid, now_ms)]
        case "FINISHED":
            seconds = ((result.end_ms or now_ms) - result.start_ms) / 1000.0
            took = f"finished in {in_words(seconds)}"
            words = [counted, took] if done else [took]
            words += _best(result, grid)
            done = total
        case _:
            assert result.failure is not None
            words = [f"stopped at {counted}: {result.failure.summary}"]
    line = "".join(char if char.isprintable() else " " for char in ", ".join(words))
    return Shown(done=done, total=total, words=line)


def _running(result: SearchResult, grid: GridNames, now_ms: int) -> list[str]:
    left = left_in_words(seconds_left(result, now_ms))
    if result.best_at_refit is not None:
        candidate = result.description.candidates[result.best_at_refit]
        words = [f"refit of {names.child_run(candidate, grid)}"]
    else:
        words = _best(result, grid)
    # Where the line is cut, it is cut at its end.
    return [left, *words] if left else words


def _best(result: SearchResult, grid: GridNames) -> list[str]:
    def name(candidate: int) -> str:
        return names.child_run(result.description.candidates[candidate], grid)

    best, taken = leader(result), won_with_nan(result)
    words = [] if taken is None else [f"Spark took {name(taken)} (NaN)"]
    if best is None:
        return words
    which = "best" if taken is None else "best with a score"
    setting = name(best.candidate)
    return [*words, f"{which} {best.score} ({setting})" if best.score else f"{which} {setting}"]
