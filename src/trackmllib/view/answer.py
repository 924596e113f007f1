"""Which setting is best, in a sentence, and how certain that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trackmllib import names, plural
from trackmllib.names import GridNames
from trackmllib.search_result import CandidateResult, SearchResult
from trackmllib.view import words
from trackmllib.view.compared import RULE, Comparison

PLUS_MINUS = "± is the standard deviation of the scores over the folds"
WITHIN = "; what is within its spread has an average that is no farther off than that"


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
    averages = _averages(search)
    if best is None or best not in search.candidates:
        return Answer(sentence=_without_best(search, grid, averages))
    found = search.candidates[best]
    if found.average is None:
        return Answer(sentence=f"Spark took {_name(search, grid, best)}; its score is not known.")
    if math.isnan(found.average):
        return _nan(search, grid, best, averages)
    sentence = _sentence(search, grid, best, averages)
    # Where the best average is another one's, nothing is said of what lies near to what was taken.
    compared = len(averages) if _better(search, best, averages) is None else 1
    return Answer(
        sentence=sentence,
        certainty=tuple(_certainty(search, found, comparison, compared)),
        best=best,
    )


def _sentence(search: SearchResult, grid: GridNames, best: int, averages: dict[int, float]) -> str:
    found = search.candidates[best]
    name = _name(search, grid, best)
    scored = _scored(search, found)
    total = len(search.description.candidates)
    better = _better(search, best, averages)
    if better is not None:
        return _by_another_rule(search, grid, best, better)
    same = [index for index, average in averages.items() if average == found.average]
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
            f"score, {scored}; Spark takes the first one."
        )
    near = within_spread(search, best)
    if near is None:
        return f"{name} is best: {scored}."
    others = (
        f"{plural.count(near, 'setting')} {'is' if near == 1 else 'are'}" if near else "no other is"
    )
    return f"{name} is best: {scored}; {others} within its spread."


def _better(search: SearchResult, best: int, averages: dict[int, float]) -> int | None:
    """The best average, where what was taken has another: a subclass chose by a rule of its own."""
    leader = _leader(search, averages)
    if leader is None or best not in averages or averages[leader] == averages[best]:
        return None
    return leader


def _by_another_rule(search: SearchResult, grid: GridNames, taken: int, better: int) -> str:
    found, other = search.candidates[taken], search.candidates[better]
    text = (
        f"The tuner took {_name(search, grid, taken)}: {_scored(search, found)}; the best average "
        f"has {_name(search, grid, better)}: {_score(search, other)}."
    )
    if search.status == "RUNNING":
        return f"{text} What it took is being fitted on all the data."
    if search.status != "FINISHED":
        return f"{text} The search {_stopped(search)}. {_finished(search)}{_error(search)}"
    return text


def within_spread(search: SearchResult, best: int) -> int | None:
    """How many others have an average that is off the best one's by its deviation at most; None
    where there is no deviation.
    """
    found = search.candidates[best]
    if found.average is None or not found.deviation or not math.isfinite(found.deviation):
        return None
    return sum(
        abs(average - found.average) <= found.deviation
        for index, average in _averages(search).items()
        if index != best
    )


def _certainty(
    search: SearchResult, found: CandidateResult, comparison: Comparison, averages: int
) -> list[str]:
    sentences = []
    if found.deviation is not None and search.folds > 1:
        sentences.append(PLUS_MINUS + (WITHIN if averages > 1 else "") + ".")
    if averages < 2:
        return sentences
    if comparison.silence is not None:
        return [*sentences, comparison.silence]
    if comparison.compared:
        alike, compared = len(comparison.indistinct), comparison.compared
        if alike == 0:
            said = "The best one can be told apart from every other"
            if compared == 1:
                said = "The best one can be told apart from the other"
        elif alike == compared > 1:
            said = f"None of the {compared:,} others can be told apart from the best one"
        else:
            said = f"{alike:,} of the {compared:,} others cannot be told apart from the best one"
            if compared == 1:
                said = "The other one cannot be told apart from the best one"
        sentences.append(f"{said} ({RULE}).")
        sentences.append(
            f"With {search.folds} folds only large differences are seen, and the test is not "
            "corrected for the number of settings."
            if search.folds < 6
            else "The test is not corrected for the number of settings."
        )
    return sentences


def _nan(search: SearchResult, grid: GridNames, best: int, averages: dict[int, float]) -> Answer:
    """Spark chooses by numpy's argmax and argmin, to which NaN is the largest and the smallest."""
    metric = search.description.metric
    name = _name(search, grid, best)
    if not averages:
        every = "The only setting" if len(search.candidates) == 1 else "Every setting"
        took = "" if len(search.candidates) == 1 else f" Spark took the first, {name}."
        return Answer(
            sentence=f"{every} scored NaN in {metric}, so none is best.{took}",
            certainty=(_ON_NAN,),
        )
    other = _leader(search, averages)
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


def _without_best(search: SearchResult, grid: GridNames, averages: dict[int, float]) -> str:
    total = len(search.description.candidates)
    every = f"every setting with all its scores has NaN in {_metric(search)}, so none is best"
    all_nan = not averages and any(each.average is not None for each in search.candidates.values())
    if search.status == "RUNNING":
        if averages:
            return f"Whether larger is better is not known, so none is best. {_finished(search)}"
        if all_nan:
            return f"{every[0].upper()}{every[1:]} yet. {_finished(search)}"
        done = search.candidates_finished
        return f"No setting has all its scores yet: {done:,} of {total:,} are finished."
    if search.status != "FINISHED":
        stopped = _stopped(search)
        if all_nan:
            return f"The search {stopped}; {every}. {_finished(search)}{_error(search)}"
        if averages:
            return (
                f"The search {stopped}; which setting was best is not known. {_finished(search)}"
                + (_error(search))
            )
        return f"The search {stopped} before a setting had all its scores.{_error(search)}"
    other = _leader(search, averages)
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


def _averages(search: SearchResult) -> dict[int, float]:
    """The averages that are numbers, by candidate."""
    return {
        index: found.average
        for index, found in sorted(search.candidates.items())
        if found.average is not None and not math.isnan(found.average)
    }


def _leader(search: SearchResult, averages: dict[int, float]) -> int | None:
    larger = search.description.larger_is_better
    if larger is None or not averages:
        return None
    return (max if larger else min)(averages, key=averages.__getitem__)
