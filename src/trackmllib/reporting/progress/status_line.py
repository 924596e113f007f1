"""One-line status of a search, for its progress bar."""

from __future__ import annotations

from dataclasses import dataclass

from trackmllib.domain import naming
from trackmllib.domain.eta import seconds_left
from trackmllib.domain.naming import GridNames
from trackmllib.domain.ranking import leader, nan_winner
from trackmllib.domain.search_state import SearchState
from trackmllib.domain.standard_error import score_text
from trackmllib.support import formatting


@dataclass(frozen=True, kw_only=True)
class StatusLine:
    """``done`` of ``total`` fits, and a text without control characters.

    All fits of a finished search count as done, even unobserved ones.
    """

    done: int
    total: int
    text: str


def status_line(search: SearchState, grid: GridNames, now_ms: int) -> StatusLine:
    """Status of a search; the caller holds the lock of its state."""
    total = len(search.description.candidates) * search.folds
    done = min(total, sum(found.scored for found in search.candidates.values()))
    counted = f"{done:,} of {formatting.count(total, 'fit')}"
    match search.status:
        case "RUNNING":
            parts = [counted, *_running(search, grid, now_ms)]
        case "FINISHED":
            seconds = ((search.end_ms or now_ms) - search.start_ms) / 1000.0
            finished = f"finished in {formatting.rough_duration(seconds)}"
            parts = [counted, finished] if done else [finished]
            parts += _best(search, grid)
            done = total
        case _:
            assert search.failure is not None
            parts = [f"stopped at {counted}: {search.failure.summary}"]
    text = "".join(char if char.isprintable() else " " for char in ", ".join(parts))
    return StatusLine(done=done, total=total, text=text)


def _running(search: SearchState, grid: GridNames, now_ms: int) -> list[str]:
    left = formatting.time_left(seconds_left(search, now_ms))
    if search.best_at_refit is not None:
        candidate = search.description.candidates[search.best_at_refit]
        parts = [f"refit of {naming.child_run(candidate, grid)}"]
    else:
        parts = _best(search, grid)
    # The longest part is last, because the end of the line may be cut off.
    return [left, *parts] if left else parts


def _best(search: SearchState, grid: GridNames) -> list[str]:
    def name(candidate: int) -> str:
        return naming.child_run(search.description.candidates[candidate], grid)

    best, with_nan = leader(search), nan_winner(search)
    parts = [] if with_nan is None else [f"Spark chose {name(with_nan)} (NaN)"]
    if best is None:
        return parts
    which = "best" if with_nan is None else "best with a score"
    if best.average is None:
        return [*parts, f"{which} {name(best.candidate)}"]
    score = score_text(search, best.average, best.deviation)
    return [*parts, f"{which} {score} ({name(best.candidate)})"]
