"""What drives the score: the share of its variance by param and by pair of params.

Functional ANOVA (Hooker 2007; Hutter, Hoos and Leyton-Brown 2014) of the averages over the grid,
each combination of levels weighing the same. On a full grid this is exact: the shares of all
params, of all pairs and of what takes three and more add up to one.

Where the grid is not full it is an approximation: numeric params of many values are put into four
bins, and combinations without a score are filled in with the sum of the effects of single params,
fitted by least squares to those that have one. Pairs then come out too small.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from trackmllib import plural
from trackmllib.view import words
from trackmllib.view.figures.basis import MAX_KEY, Basis, NothingToDraw
from trackmllib.view.figures.levels import Param, binned, scored

BINS = 4
MOST_COMBINATIONS = 5_000
_ROUNDS = 200


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of the variance that one param, or two together beyond each alone, stand for."""

    params: tuple[str, ...]
    share: float


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Shares of params and pairs, largest first; ``rest`` takes three params or more, or is chance.

    ``exact`` on a full grid; ``caveat`` says why it is not, where it is not.
    """

    shares: tuple[Share, ...]
    rest: float
    exact: bool
    caveat: str | None
    finding: str


def importance(basis: Basis) -> Importance:
    """NothingToDraw where less than two params vary, or where the scores say too little."""
    basis.need_differences()
    if len(basis.params) < 2:
        raise NothingToDraw(
            "One param varies, so it alone drives the score."
            if basis.params
            else "No param varies, so none drives the score."
        )
    low, high = min(basis.averages.values()), max(basis.averages.values())
    if low == high:
        raise NothingToDraw("One score alone does not say what drives it.")
    # From 0 to 1, so that no square of a score is too large or too small for a double.
    span = high / 2 - low / 2
    averages = {index: (each / 2 - low / 2) / span for index, each in basis.averages.items()}
    params: Sequence[Param] = basis.params
    observed = _observed(params, averages)
    exact = _is_full(params, observed) and len(averages) == len(basis.search.description.candidates)
    caveat = None
    if not exact:
        params = [
            seen for param in params if len((seen := scored(_grouped(param), averages)).levels) > 1
        ]
        if not params:
            raise NothingToDraw("No two settings that differ in a param have a score.")
        observed = _observed(params, averages)
        caveat = _fill(params, observed)
    shares, rest = _shares(params, observed)
    return Importance(
        shares=shares, rest=rest, exact=exact, caveat=caveat, finding=_finding(shares, exact)
    )


def _grouped(param: Param) -> Param:
    return binned(param, BINS) if len(param.levels) > BINS + 1 else param


Table = dict[tuple[int, ...], float]


def _observed(params: Sequence[Param], averages: dict[int, float]) -> Table:
    """The average score of each combination of levels."""
    found: dict[tuple[int, ...], list[float]] = {}
    for index, average in averages.items():
        found.setdefault(tuple(param.of[index] for param in params), []).append(average)
    return {where: math.fsum(scores) / len(scores) for where, scores in found.items()}


def _is_full(params: Sequence[Param], observed: Table) -> bool:
    return len(observed) == math.prod(len(param.levels) for param in params)


def _fill(params: Sequence[Param], observed: Table) -> str:
    """Give each combination a score; says how many had none."""
    size = math.prod(len(param.levels) for param in params)
    freedom = sum(len(param.levels) - 1 for param in params)
    if size > MOST_COMBINATIONS:
        raise NothingToDraw(
            f"The params have {size:,} combinations, too many to say from "
            f"{plural.count(len(observed), 'score')} what drives the score."
        )
    if len(observed) <= freedom:
        raise NothingToDraw(
            plural.count(
                len(observed),
                f"score of {size:,} combinations is",
                f"scores of {size:,} combinations are",
            )
            + " too few to say what drives the score."
        )
    missing = size - len(observed)
    mean, effects = _additive(params, observed)
    for where in itertools.product(*(range(len(param.levels)) for param in params)):
        if where not in observed:
            observed[where] = mean + math.fsum(
                effect[level] for effect, level in zip(effects, where, strict=True)
            )
    filled = plural.count(
        missing,
        f"of {size:,} combinations has no score and was",
        f"of {size:,} combinations have no score and were",
    )
    return (
        f"Not exact: {filled} filled in with the sum of the effects of single params, so pairs "
        "look smaller than they are."
        if missing
        else "Not exact: some settings have no score, or stand for several values together."
    )


def _additive(params: Sequence[Param], observed: Table) -> tuple[float, list[list[float]]]:
    """Mean and effects of levels by least squares, found by fitting one param after the other."""
    mean = math.fsum(observed.values()) / len(observed)
    effects = [[0.0] * len(param.levels) for param in params]
    rest = {where: score - mean for where, score in observed.items()}
    groups = [_by_level(list(observed), position) for position in range(len(params))]
    for _ in range(_ROUNDS):
        largest = 0.0
        for effect, group in zip(effects, groups, strict=True):
            for level, members in group.items():
                step = math.fsum(rest[where] for where in members) / len(members)
                effect[level] += step
                largest = max(largest, abs(step))
                for where in members:
                    rest[where] -= step
        if largest <= 1e-12 * (abs(mean) + 1e-300):
            break
    return mean, effects


def _by_level(
    combinations: Sequence[tuple[int, ...]], position: int
) -> dict[int, list[tuple[int, ...]]]:
    groups: dict[int, list[tuple[int, ...]]] = {}
    for where in combinations:
        groups.setdefault(where[position], []).append(where)
    return groups


def _shares(params: Sequence[Param], full: Table) -> tuple[tuple[Share, ...], float]:
    mean = math.fsum(full.values()) / len(full)
    variance = math.fsum((score - mean) ** 2 for score in full.values()) / len(full)
    if variance == 0:
        raise NothingToDraw("The scores vary with no param.")
    singles = [_means(full, (position,)) for position in range(len(params))]
    for single in singles:
        for level in single:
            single[level] -= mean
    found = [
        Share(params=(param.key,), share=_mean_square(single) / variance)
        for param, single in zip(params, singles, strict=True)
    ]
    for one, other in itertools.combinations(range(len(params)), 2):
        joint = _means(full, (one, other))
        for levels in joint:
            joint[levels] -= mean + singles[one][levels[:1]] + singles[other][levels[1:]]
        keys = (params[one].key, params[other].key)
        found.append(Share(params=keys, share=_mean_square(joint) / variance))
    rest = max(0.0, 1.0 - math.fsum(each.share for each in found))
    return tuple(sorted(found, key=lambda each: -each.share)), rest if rest > 1e-9 else 0.0


def _means(full: Table, positions: tuple[int, ...]) -> dict[tuple[int, ...], float]:
    """The mean over all other params for each combination of levels of these."""
    sums: dict[tuple[int, ...], list[float]] = {}
    for where, score in full.items():
        sums.setdefault(tuple(where[position] for position in positions), []).append(score)
    return {levels: math.fsum(scores) / len(scores) for levels, scores in sums.items()}


def _mean_square(effects: dict[tuple[int, ...], float]) -> float:
    return math.fsum(effect**2 for effect in effects.values()) / len(effects)


def _finding(shares: tuple[Share, ...], exact: bool) -> str:
    first = shares[0]
    about = "" if exact else "about "
    text = f"{label(first.params)} stands for {about}{words.percent(first.share)} of the variance"
    if len(shares) > 1 and shares[1].share >= 0.01:
        text += f", {label(shares[1].params)} for {about}{words.percent(shares[1].share)}"
    return text + "."


def label(params: tuple[str, ...]) -> str:
    """``maxDepth``, or of a pair ``maxDepth with maxBins``."""
    return " with ".join(words.visible(key, MAX_KEY) for key in params)
