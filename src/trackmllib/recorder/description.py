"""The description of a main run on MLflow's page: Markdown that says how its search stands.

What comes from users (values, error messages) can neither be Markdown nor HTML in it.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

from trackmllib import limits, names, plural
from trackmllib.estimate import left_in_words, seconds_left
from trackmllib.events import CellScored, Event
from trackmllib.names import GridNames
from trackmllib.operations import Describe
from trackmllib.search_result import SearchResult, Status
from trackmllib.standing import leader, standings, won_with_nan
from trackmllib.view.compared import LEGEND, Comparison, compare

MOST_CHARACTERS = 4000
MOST_ROWS = 10
# A search that is over before anybody looks is described at its start and at its end.
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
# What means something to Markdown or HTML anywhere in a line, and to MLflow's page (@user, :smile:,
# addresses, which it would make links of; "¨" is the escape character of its Markdown).
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|~!^&\"'@:$¨]|www(?=\.)|=(?==)")


def describe(result: SearchResult, grid: GridNames, time_ms: int) -> Describe:
    """What the main run is told of the search as it stood at ``time_ms``."""
    text = markdown(result, grid, time_ms)
    return Describe(search_id=result.search_id, text=text, is_last=result.end_ms is not None)


def least(search_id: str, status: Status) -> Describe:
    """How a search ended about which no more can be said."""
    return Describe(search_id=search_id, text=f"**{_STATES[status]}**", is_last=True)


def is_due(event: Event, result: SearchResult) -> bool:
    """Whether a score has brought the search over a tenth, a quarter, a half or three quarters."""
    if not isinstance(event, CellScored) or not is_long(event, result):
        return False
    cells = len(result.description.candidates) * result.folds
    done = result.cells_finished
    return done < cells and any(done - 1 < part * cells <= done for part in _PARTS)


def is_long(event: Event, result: SearchResult) -> bool:
    """Whether the search has run for so long that somebody may be looking."""
    return event.time_ms - result.start_ms >= QUIET_SECONDS * 1000


def markdown(result: SearchResult, grid: GridNames, time_ms: int) -> str:
    """The state, the best, and a table of the ten best; 4,000 characters at most."""
    best, comparison = leader(result), compare(result)
    if best is None or best.candidate != comparison.best:
        # While the search runs, a candidate without all its scores may lead.
        comparison = Comparison(best=None)
    for length in _LENGTHS:
        text = _markdown(result, grid, time_ms, length, comparison)
        if len(text) <= MOST_CHARACTERS:
            break
    return text


def _markdown(
    result: SearchResult, grid: GridNames, time_ms: int, length: int, comparison: Comparison
) -> str:
    paragraphs = [
        _state(result, time_ms),
        _best(result, grid, length, comparison),
        _table(result, grid, length, comparison),
        f"*As of {_when(time_ms)}, by trackmllib*",
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _state(result: SearchResult, time_ms: int) -> str:
    cells = plural.count(len(result.description.candidates) * result.folds, "cell")
    words = [f"**{_STATES[result.status]}**"]
    if result.failure is not None:
        reason = limits.cut(result.failure.summary, _LONGEST_REASON)
        words.append(f" at {result.cells_finished:,} of {cells}: {_escaped(reason)}")
    elif result.cells_finished:
        words.append(f": {result.cells_finished:,} of {cells}")
    elif result.status == "RUNNING":
        words.append(f": 0 of {cells}")
    if result.status == "RUNNING" and result.best_at_refit is not None:
        words.append(", refit of the best one")
    left = seconds_left(result, time_ms)
    if left is not None:
        end = _when(time_ms + round(left * 1000))
        words.append(f", {left_in_words(left)} (until {end})")
    return "".join(words)


def _best(result: SearchResult, grid: GridNames, length: int, comparison: Comparison) -> str:
    best, taken = leader(result), won_with_nan(result)
    if taken is not None:
        took = f"Spark took **{_setting(result, grid, taken, length)}** (NaN)"
        if best is None:
            return took
        setting = _setting(result, grid, best.candidate, length)
        return f"{took}; best with a score: **{setting}**: {_metric(result)} {best.score}"
    if best is None:
        return ""
    folds = result.folds
    so_far = "" if result.best is not None else " so far"
    if best.folds < folds:
        so_far = f" after {best.folds} of {folds} folds"
    score = f": {_metric(result)} {best.score}" if best.score else ""
    told = f"; {comparison.clause}" if comparison.clause is not None else ""
    return f"Best{so_far}: **{_setting(result, grid, best.candidate, length)}**{score}{told}"


def _table(result: SearchResult, grid: GridNames, length: int, comparison: Comparison) -> str:
    shown = [each for each in standings(result)[:MOST_ROWS] if each.average is not None]
    rows = []
    for place, standing in enumerate(shown, start=1):
        index = standing.candidate
        place_and_mark = f"{place} {comparison.mark(index)}".rstrip()
        rows.append(
            f"| {place_and_mark} | {_setting(result, grid, index, length)} | {standing.score} "
            f"| {result.candidates[index].scored} of {result.folds} |"
        )
    if not rows:
        return ""
    head = f"| place | setting | {_metric(result)} | folds |"
    table = "\n".join([head, "|---|---|---|---|", *rows])
    is_marked = any(comparison.mark(standing.candidate) for standing in shown)
    return f"{table}\n\n{LEGEND}" if is_marked else table


def _setting(result: SearchResult, grid: GridNames, candidate: int, length: int) -> str:
    name = names.child_run(result.description.candidates[candidate], grid)
    return _escaped(limits.cut(name, length))


def _metric(result: SearchResult) -> str:
    return _escaped(limits.cut(result.description.metric, 40))


def _when(time_ms: int) -> str:
    when = datetime.fromtimestamp(time_ms / 1000, tz=timezone.utc)
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def _escaped(text: str) -> str:
    """The text as it is, whatever is in it, in one line of Markdown or HTML."""
    line = "".join(char if char.isprintable() else " " for char in text).strip()
    return _SPECIAL.sub(lambda found: "".join(f"&#{ord(c)};" for c in found.group()), line)
