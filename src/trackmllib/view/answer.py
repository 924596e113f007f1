"""Which setting is best, in a sentence, and how certain that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trackmllib import names, plural
from trackmllib.names import GridNames
from trackmllib.search_result import CandidateResult, SearchResult
from trackmllib.view import words
from trackmllib.view.compared import RULE, Comparison, averages, better, leader

PLUS_MINUS = "± is the standard deviation of the scores over the folds."


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``sentence`` answers which setting is best; ``certainty`` has the sentences that say how
    certain that is; ``best`` is the candidate it speaks of, None where there is none.
    """

    sentence: str
    certainty: tuple[str, ...] = ()
    best: int | None = None


def answer(search: SearchResult, grid: GridNames, comparison: Comparison) -> Answer:
    """The answer of a search as it stands, finished or not."""
    total = len(search.description.candidates)
    if total == 0:
        return Answer(sentence="The search has no candidates: its grid is empty." + _error(search))
    best = search.best_so_far()
    among = averages(search)
    if best is None or best not in search.candidates:
        return Answer(sentence=_without_best(search, grid, among))
    found = search.candidates[best]
    if found.average is None:
        return Answer(sentence=f"Spark took {_name(search, grid, best)}; its score is not known.")
    if math.isnan(found.average):
        return _nan(search, grid, best, among)
    # Where the best average is another one's, nothing is said of what lies near to what was taken.
    other = better(search, best)
    if other is not None:
        sentence = _by_another_rule(search, grid, best, other)
    else:
        sentence = _sentence(search, grid, best, among, comparison)
    is_compared = other is None and len(among) > 1
    return Answer(
        sentence=sentence,
        certainty=tuple(_certainty(search, found, comparison if is_compared else None)),
        best=best,
    )


def _sentence(
    search: SearchResult,
    grid: GridNames,
    best: int,
    among: dict[int, float],
    comparison: Comparison,
) -> str:
    found = search.candidates[best]
    name = _name(search, grid, best)
    scored = _scored(search, found)
    if comparison.clause is not None:
        scored += f"; {comparison.clause}"
    total = len(search.description.candidates)
    same = [index for index, average in among.items() if average == found.average]
    tied = f", as one of {len(same):,}" if len(same) > 1 else ""
    if search.status == "RUNNING":
        if search.candidates_finished < total:
            return f"{name} is best so far{tied}: {scored}. {_finished(search)}"
        return f"{name} is best{tied}: {scored}. It is being fitted on all the data."
    if search.status != "FINISHED":
        return (
            f"{name} was best when the search {_stopped(search)}{tied}: {scored}. "
            f"{_finished(search)}{_error(search)}"
        )
    if search.description.larger_is_better is None:
        return f"Spark took {name}: {scored}. Whether larger is better is not known."
    if total == 1:
        return f"{name} is the only setting: {scored}."
    if len(same) == total:
        return (
            f"All {total:,} settings have the same score: {scored}. Spark takes the first, {name}."
        )
    if len(same) > 1:
        return (
            f"{name} is best, as one of {len(same):,}: {len(same):,} settings have the same best "
            f"score, {scored}. Spark takes the first one."
        )
    return f"{name} is best: {scored}."


def _by_another_rule(search: SearchResult, grid: GridNames, taken: int, leads: int) -> str:
    found, other = search.candidates[taken], search.candidates[leads]
    text = (
        f"The tuner took {_name(search, grid, taken)}: {_scored(search, found)}; the best average "
        f"has {_name(search, grid, leads)}: {_score(search, other)}."
    )
    if search.status == "RUNNING":
        return f"{text} What it took is being fitted on all the data."
    if search.status != "FINISHED":
        return f"{text} The search {_stopped(search)}. {_finished(search)}{_error(search)}"
    return text


def _certainty(
    search: SearchResult, found: CandidateResult, comparison: Comparison | None
) -> list[str]:
    sentences = []
    if found.deviation is not None and search.folds > 1:
        sentences.append(PLUS_MINUS)
    if comparison is None:
        return sentences
    if comparison.silence is not None:
        return [*sentences, comparison.silence]
    if comparison.clause is not None:
        sentences.append(f"{comparison.clause[0].upper()}{comparison.clause[1:]} ({RULE}).")
        sentences.append(
            f"With {search.folds} folds only large differences are seen, and the test is not "
            "corrected for the number of settings."
            if search.folds < 6
            else "The test is not corrected for the number of settings."
        )
    return sentences


def _nan(search: SearchResult, grid: GridNames, best: int, among: dict[int, float]) -> Answer:
    """Spark chooses by numpy's argmax and argmin, to which NaN is the largest and the smallest."""
    metric = search.description.metric
    name = _name(search, grid, best)
    if not among:
        every = "The only setting" if len(search.candidates) == 1 else "Every setting"
        took = "" if len(search.candidates) == 1 else f" Spark took the first, {name}."
        return Answer(
            sentence=f"{every} scored NaN in {metric}, so none is best.{took}",
            certainty=(_ON_NAN,),
        )
    other = leader(search, among)
    sentence = f"Spark took {name} for the best, but its {metric} is NaN."
    if other is not None:
        found = search.candidates[other]
        sentence += f" Of those with a score, {_name(search, grid, other)} is best: "
        sentence += f"{_scored(search, found)}."
    if search.failure is not None:
        sentence += f" The search {_stopped(search)}.{_error(search)}"
    return Answer(sentence=sentence, certainty=(_ON_NAN,), best=other)


_ON_NAN = (
    "A NaN comes from an evaluator that had nothing to divide by or from predictions that are NaN; "
    "Spark takes NaN for better than every number."
)


def _without_best(search: SearchResult, grid: GridNames, among: dict[int, float]) -> str:
    total = len(search.description.candidates)
    every = f"every setting with all its scores has NaN in {_metric(search)}, so none is best"
    all_nan = not among and any(each.average is not None for each in search.candidates.values())
    if search.status == "RUNNING":
        if among:
            return f"Whether larger is better is not known, so none is best. {_finished(search)}"
        if all_nan:
            return f"{every[0].upper()}{every[1:]} yet. {_finished(search)}"
        done = search.candidates_finished
        return f"No setting has all its scores yet: {done:,} of {total:,} are finished."
    if search.status != "FINISHED":
        stopped = _stopped(search)
        if all_nan:
            return f"The search {stopped}; {every}. {_finished(search)}{_error(search)}"
        if among:
            return (
                f"The search {stopped}; which setting was best is not known. {_finished(search)}"
                + (_error(search))
            )
        return f"The search {stopped} before a setting had all its scores.{_error(search)}"
    other = leader(search, among)
    if other is None:
        return "The search is finished, but its model does not say which setting was best."
    return (
        "The model does not say which setting it was fitted with; the best score has "
        f"{_name(search, grid, other)}: {_scored(search, search.candidates[other])}."
    )


def _finished(search: SearchResult) -> str:
    total = len(search.description.candidates)
    had = "are" if search.status == "RUNNING" else "had"
    return f"{search.candidates_finished:,} of {plural.count(total, 'setting')} {had} finished."


def _stopped(search: SearchResult) -> str:
    return "was interrupted" if search.status == "KILLED" else "failed"


def _error(search: SearchResult) -> str:
    failure = search.failure
    if failure is None or failure.interrupted:
        return ""
    return f" The error was {words.visible(failure.summary, 200)}"


def _scored(search: SearchResult, found: CandidateResult) -> str:
    """``weightedPrecision 0.842 ± 0.006 over 3 folds``."""
    description = search.description
    if not description.averaged:
        where = "on one split"
    elif search.folds == 0:
        where = ""
    else:
        where = f"over {plural.count(search.folds, 'fold')}"
    smaller = " (smaller is better)" if description.larger_is_better is False else ""
    return f"{_metric(search)} {_score(search, found)} {where}{smaller}".rstrip()


def _score(search: SearchResult, found: CandidateResult) -> str:
    """``0.842 ± 0.006``; one fold has no deviation."""
    return words.score(found.average, found.deviation if search.folds > 1 else None)


def _metric(search: SearchResult) -> str:
    return words.visible(search.description.metric, 60)


def _name(search: SearchResult, grid: GridNames, index: int) -> str:
    name = names.child_run(search.description.candidates[index], grid)
    return words.visible(name, 120)
