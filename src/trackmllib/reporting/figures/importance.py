"""Share of the score's variance by param and by pair of params.

Functional ANOVA (Hooker 2007; Hutter, Hoos and Leyton-Brown 2014) of the averages over the grid,
with equal weight for each combination of levels. On a full grid it is exact: the shares of params,
pairs and higher interactions add up to one.

On other grids it is an approximation. Numeric params with many values are grouped into four bins.
Combinations without a score get the sum of the effects of single params, fitted by least squares to
the other combinations, which makes the shares of pairs too small.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from trackmllib.reporting.figures.context import MAX_KEY, NothingToDraw, SearchContext
from trackmllib.reporting.figures.levels import Param, binned, scored
from trackmllib.support import formatting

BINS = 4
MAX_COMBINATIONS = 5_000
_ROUNDS = 200

Table = dict[tuple[int, ...], float]


@dataclass(frozen=True, kw_only=True)
class Share:
    """Share of the variance of one param, or of the interaction of two."""

    params: tuple[str, ...]
    share: float


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Shares of params and pairs, largest first.

    ``rest`` is the share of higher interactions, or of chance. Unless the shares are ``exact``,
    ``caveat`` says why.
    """

    shares: tuple[Share, ...]
    rest: float
    exact: bool
    caveat: str | None
    finding: str


def importance(context: SearchContext) -> Importance:
    """Data of the figure ``importance``.

    :raises NothingToDraw: Fewer than two params vary, or there are too few scores.
    """
    context.require_differences()
    if len(context.params) < 2:
        raise NothingToDraw(
            "One param varies, so it alone drives the score."
            if context.params
            else "No param varies, so none drives the score."
        )
    low, high = min(context.averages.values()), max(context.averages.values())
    if low == high:
        raise NothingToDraw("One score alone does not show what drives it.")
    # Scaled to 0..1, so that the square of every score fits into a double.
    span = high / 2 - low / 2
    averages = {index: (each / 2 - low / 2) / span for index, each in context.averages.items()}
    params: Sequence[Param] = context.params
    observed = _observed(params, averages)
    candidates = context.search.description.candidates
    exact = len(observed) == _combinations(params) and len(averages) == len(candidates)
    caveat = None
    if not exact:
        grouped = (scored(binned(param, BINS, above=BINS + 1), averages) for param in params)
        params = [param for param in grouped if len(param.levels) > 1]
        if not params:
            raise NothingToDraw("No two candidates that differ in a param have a score.")
        observed = _observed(params, averages)
        caveat = _fill(params, observed)
    shares, rest = _shares(params, observed)
    return Importance(
        shares=shares, rest=rest, exact=exact, caveat=caveat, finding=_finding(shares, exact)
    )


def _observed(params: Sequence[Param], averages: dict[int, float]) -> Table:
    """Mean score of each combination of levels that has one."""
    found: dict[tuple[int, ...], list[float]] = {}
    for index, average in averages.items():
        found.setdefault(tuple(param.level_index[index] for param in params), []).append(average)
    return {levels: math.fsum(scores) / len(scores) for levels, scores in found.items()}


def _combinations(params: Sequence[Param]) -> int:
    return math.prod(len(param.levels) for param in params)


def _fill(params: Sequence[Param], observed: Table) -> str:
    """Give each combination a score; return the caveat."""
    size = _combinations(params)
    freedom = sum(len(param.levels) - 1 for param in params)
    scores = formatting.count(len(observed), "score")
    if size > MAX_COMBINATIONS:
        raise NothingToDraw(
            f"The params have {size:,} combinations: {scores} cannot show what drives the score."
        )
    if len(observed) <= freedom:
        raise NothingToDraw(
            f"The params have {size:,} combinations: {scores} are too few to show what drives the "
            "score."
        )
    missing = size - len(observed)
    mean, effects = _additive(params, observed)
    for levels in itertools.product(*(range(len(param.levels)) for param in params)):
        if levels not in observed:
            observed[levels] = mean + math.fsum(
                effect[level] for effect, level in zip(effects, levels, strict=True)
            )
    if not missing:
        return "Approximate: some candidates have no score, or some values are grouped."
    filled = formatting.count(
        missing,
        f"of {size:,} combinations has no score and was",
        f"of {size:,} combinations have no score and were",
    )
    return (
        f"Approximate: {filled} filled in with the sum of the effects of single params, so pairs "
        "look smaller than they are."
    )


def _additive(params: Sequence[Param], observed: Table) -> tuple[float, list[list[float]]]:
    """Mean and effects of levels, fitted by least squares."""
    mean = math.fsum(observed.values()) / len(observed)
    effects = [[0.0] * len(param.levels) for param in params]
    rest = {levels: score - mean for levels, score in observed.items()}
    groups = [_by_level(observed, at) for at in range(len(params))]
    for _ in range(_ROUNDS):
        largest = 0.0
        for effect, group in zip(effects, groups, strict=True):
            for level, members in group.items():
                step = math.fsum(rest[levels] for levels in members) / len(members)
                effect[level] += step
                largest = max(largest, abs(step))
                for levels in members:
                    rest[levels] -= step
        if largest <= 1e-12 * (abs(mean) + 1e-300):
            break
    return mean, effects


def _by_level(observed: Table, at: int) -> dict[int, list[tuple[int, ...]]]:
    """Combinations by their level of the param at this position."""
    groups: dict[int, list[tuple[int, ...]]] = {}
    for levels in observed:
        groups.setdefault(levels[at], []).append(levels)
    return groups


def _shares(params: Sequence[Param], full: Table) -> tuple[tuple[Share, ...], float]:
    mean = math.fsum(full.values()) / len(full)
    variance = math.fsum((score - mean) ** 2 for score in full.values()) / len(full)
    if variance == 0:
        raise NothingToDraw("The scores vary with no param.")
    singles = [_means(full, (at,)) for at in range(len(params))]
    for single in singles:
        for level in single:
            single[level] -= mean
    shares = [
        Share(params=(param.key,), share=_mean_square(single) / variance)
        for param, single in zip(params, singles, strict=True)
    ]
    for one, other in itertools.combinations(range(len(params)), 2):
        joint = _means(full, (one, other))
        for levels in joint:
            joint[levels] -= mean + singles[one][levels[:1]] + singles[other][levels[1:]]
        keys = (params[one].key, params[other].key)
        shares.append(Share(params=keys, share=_mean_square(joint) / variance))
    rest = max(0.0, 1.0 - math.fsum(each.share for each in shares))
    return tuple(sorted(shares, key=lambda each: -each.share)), rest if rest > 1e-9 else 0.0


def _means(full: Table, positions: tuple[int, ...]) -> Table:
    """Mean score for each combination of levels at these positions."""
    scores: dict[tuple[int, ...], list[float]] = {}
    for levels, score in full.items():
        scores.setdefault(tuple(levels[at] for at in positions), []).append(score)
    return {levels: math.fsum(each) / len(each) for levels, each in scores.items()}


def _mean_square(effects: Table) -> float:
    return math.fsum(effect**2 for effect in effects.values()) / len(effects)


def _finding(shares: tuple[Share, ...], exact: bool) -> str:
    about = "" if exact else "about "

    def percent(share: Share) -> str:
        return about + formatting.percent(share.share)

    text = f"{label(shares[0].params)} explains {percent(shares[0])} of the variance"
    if len(shares) > 1 and shares[1].share >= 0.01:
        text += f", {label(shares[1].params)} {percent(shares[1])}"
    return text + "."


def label(params: tuple[str, ...]) -> str:
    """``maxDepth``, or ``maxDepth × maxBins`` for a pair."""
    return " × ".join(formatting.visible(key, MAX_KEY) for key in params)
