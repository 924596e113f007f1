"""Unset seeds, whose default differs in each process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pyspark.ml.param import Params

from trackmllib.spark.introspection.components import defaults, nested_components, set_values
from trackmllib.spark.middleware.score_reuse.keys import family_of
from trackmllib.support.guard import attempt


class UnsetSeed(NamedTuple):
    """Unset seed param, with its owner's class and its present default."""

    param: Any
    owner: str
    value: int


def unset_seeds(tuner: Any, estimator: Any, maps: Sequence[Any]) -> dict[str, UnsetSeed]:
    """Return the unset seeds, by the place of their owner."""
    in_grid = {str(param) for extra in maps for param in extra}
    owners = [
        *nested_components(estimator),
        *nested_components([list(extra.values()) for extra in maps], "grid"),
    ]
    if isinstance(tuner, Params) and not attempt(lambda: tuner.getFoldCol(), ""):
        # Without a fold column, Spark draws the folds with the seed of the tuner.
        owners.append(("tuner", tuner))
    found: dict[str, UnsetSeed] = {}
    for place, owner in owners:
        param = next((one for one in defaults(owner) if one.name == "seed"), None)
        if param is not None and param not in set_values(owner) and str(param) not in in_grid:
            found[place] = UnsetSeed(param, type(owner).__name__, defaults(owner)[param])
    return found


def recorded_seeds(tuner: Any, look_up: Callable[[str], Mapping[str, int]]) -> dict[Any, int]:
    """Return a param map that sets unset seeds to those of an earlier search.

    :param look_up: Returns the recorded seeds of a family, by the place of their owner.
    """
    estimator, maps = tuner.getEstimator(), tuner.getEstimatorParamMaps()
    seeds = unset_seeds(tuner, estimator, maps)
    if not seeds:
        return {}
    recorded = look_up(family_of(estimator, tuner.getEvaluator()))
    return {seed.param: recorded[place] for place, seed in seeds.items() if place in recorded}


def owner_names(seeds: Iterable[UnsetSeed]) -> str:
    """List the classes without a seed, for a message."""
    return " and ".join(sorted({seed.owner for seed in seeds}))
