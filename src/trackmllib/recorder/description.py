"""Description of a parent run: the state of its search in Markdown.

User texts, such as values and error messages, are escaped.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

from trackmllib.domain.eta import seconds_left
from trackmllib.domain.events import Event, FitScored
from trackmllib.domain.further_metrics import line_of_best
from trackmllib.domain.operations import SetDescription
from trackmllib.domain.ranking import RankedCandidate, leader, leaderboard, nan_winner
from trackmllib.domain.search_state import SearchState, Status
from trackmllib.domain.significance import Comparison, compare
from trackmllib.domain.standard_error import PLUS_MINUS, score_text, standard_error
from trackmllib.support import formatting

MOST_CHARACTERS = 4000
MOST_ROWS = 10
# Shorter searches are described only at their start and end.
QUIET_SECONDS = 5.0

_PARTS = (0.1, 0.25, 0.5, 0.75)
_LENGTHS = (120, 60, 30, 15)
_LONGEST_REASON = 200
_STATES: dict[Status, str] = {
    "RUNNING": "Running",
    "FINISHED": "Finished",
    "FAILED": "Failed",
    "KILLED": "Killed",
}
# Special in Markdown, HTML or the MLflow UI (@user, :smile:, addresses, which become links; "¨" is
# the escape character of its Markdown).
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~!^&\"'@:$¨]|www(?=\.)|=(?==)")


def describe(state: SearchState, time_ms: int) -> SetDescription:
    """Describe the search as of ``time_ms``."""
    text = markdown(state, time_ms)
    return SetDescription(search_id=state.search_id, text=text, is_last=state.end_ms is not None)


def only_status(search_id: str, status: Status) -> SetDescription:
    """Describe a search by its status only."""
    return SetDescription(search_id=search_id, text=f"**{_STATES[status]}**", is_last=True)


def is_due(event: Event, state: SearchState) -> bool:
    """Whether this score reaches the next of ``_PARTS`` of all fits."""
    if not isinstance(event, FitScored) or not is_long(event, state):
        return False
    fits = len(state.description.candidates) * state.folds
    done = state.fits_finished
    return done < fits and any(done - 1 < part * fits <= done for part in _PARTS)


def is_long(event: Event, state: SearchState) -> bool:
    """Whether the search has run long enough to update its description."""
    return event.time_ms - state.start_ms >= QUIET_SECONDS * 1000


def markdown(state: SearchState, time_ms: int) -> str:
    """State, best candidate and a table of the best, in 4,000 characters."""
    best, comparison = leader(state), compare(state)
    leads = None if best is None else best.candidate
    if comparison.reason is None and leads != comparison.best:
        # An incomplete candidate leads.
        comparison = Comparison(best=None)
    for length in _LENGTHS:
        text = _markdown(state, time_ms, length, comparison)
        if len(text) <= MOST_CHARACTERS:
            break
    return text


def _markdown(state: SearchState, time_ms: int, length: int, comparison: Comparison) -> str:
    paragraphs = [
        _state(state, time_ms),
        _best(state, length, comparison),
        _further_metrics(state),
        _table(state, length, comparison),
        f"*As of {_when(time_ms)}, by trackmllib*",
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _state(state: SearchState, time_ms: int) -> str:
    fits = formatting.count(len(state.description.candidates) * state.folds, "fit")
    words = [f"**{_STATES[state.status]}**"]
    if state.failure is not None:
        reason = formatting.truncate(state.failure.summary, _LONGEST_REASON)
        words.append(f" at {state.fits_finished:,} of {fits}: {_escaped(reason)}")
    elif state.fits_finished:
        words.append(f": {state.fits_finished:,} of {fits}")
    elif state.status == "RUNNING":
        words.append(f": 0 of {fits}")
    if state.status == "RUNNING" and state.best_at_refit is not None:
        words.append(", refit of the best one")
    left = seconds_left(state, time_ms)
    if left is not None:
        end = _when(time_ms + round(left * 1000))
        words.append(f", {formatting.time_left(left)} (until {end})")
    return "".join(words)


def _best(state: SearchState, length: int, comparison: Comparison) -> str:
    best, with_nan = leader(state), nan_winner(state)
    if with_nan is not None:
        chosen = f"Spark chose **{_name(state, with_nan, length)}** (NaN)"
        if best is None:
            return chosen
        name = _name(state, best.candidate, length)
        return f"{chosen}; best with a score: **{name}**{_scored(state, best)}"
    if best is None:
        return ""
    folds = state.folds
    so_far = "" if state.best is not None else " so far"
    if best.folds < folds:
        so_far = f" after {best.folds} of {folds} folds"
    clause = f"; {comparison.clause}" if comparison.clause is not None else ""
    name = _name(state, best.candidate, length)
    return f"Best{so_far}: **{name}**{_scored(state, best)}{clause}"


def _further_metrics(state: SearchState) -> str:
    """Further metrics of the best candidate."""
    best = leader(state)
    if best is None:
        return ""
    return line_of_best(state, best.candidate, lambda name: _escaped(formatting.truncate(name, 40)))


def _table(state: SearchState, length: int, comparison: Comparison) -> str:
    shown = [each for each in leaderboard(state)[:MOST_ROWS] if each.average is not None]
    rows = []
    for rank, each in enumerate(shown, start=1):
        index = each.candidate
        rank_and_mark = f"{rank} {comparison.mark(index)}".rstrip()
        rows.append(
            f"| {rank_and_mark} | {_name(state, index, length)} "
            f"| {score_text(state, each.average, each.deviation)} "
            f"| {state.candidates[index].scored} of {state.folds} |"
        )
    if not rows:
        return ""
    head = f"| rank | candidate | {_metric(state)} | folds |"
    errors = (standard_error(state, each.deviation) for each in shown)
    notes = [PLUS_MINUS] if any(error is not None for error in errors) else []
    notes += comparison.notes(each.candidate for each in shown)
    return "\n".join([head, "|---|---|---|---|", *rows, *(f"\n{note}" for note in notes)])


def _name(state: SearchState, candidate: int, length: int) -> str:
    name = state.run_name(candidate)
    return _escaped(formatting.truncate(name, length))


def _scored(state: SearchState, ranked: RankedCandidate) -> str:
    if ranked.average is None:
        return ""
    return f": {_metric(state)} {score_text(state, ranked.average, ranked.deviation)}"


def _metric(state: SearchState) -> str:
    return _escaped(formatting.truncate(state.description.metric, 40))


def _when(time_ms: int) -> str:
    when = datetime.fromtimestamp(time_ms / 1000, tz=timezone.utc)
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def _escaped(text: str) -> str:
    """Escape a text for one line of Markdown or HTML."""
    line = "".join(char if char.isprintable() else " " for char in text).strip()
    return _SPECIAL.sub(lambda found: "".join(f"&#{ord(c)};" for c in found.group()), line)
