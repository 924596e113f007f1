"""The keys of cells: equal where the scores are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pyspark.ml.param import Params

from trackmllib.redaction import Hides, looks_secret
from trackmllib.spark.components import defaults, set_values, values
from trackmllib.spark.resuming.canonical import Canonical, digest
from trackmllib.spark.resuming.rows import Fold

TUNER = "tuner"


@dataclass(frozen=True)
class SearchKeys:
    """What all folds of a search have in common.

    ``family`` is equal for searches of the same classes; ``settings`` are digests of each candidate
    with its evaluator and versions: of all that decides its scores but the rows.
    """

    family: str
    settings: tuple[str, ...]

    def of_fold(self, fold: Fold) -> list[str]:
        """The keys of the cells of a fold, by candidate."""
        return [digest([setting, fold.train, fold.validation]) for setting in self.settings]


def keys_for(
    estimator: Any,
    evaluator: Any,
    maps: Sequence[Any],
    versions: Any,
    hides: Hides = looks_secret,
) -> SearchKeys:
    """The keys of a search, without its data.

    Unsound if something cannot be compared, or if ``hides`` is true for the name of a param.
    """
    canonical = Canonical(hides=hides)
    evaluated = canonical.component(evaluator)
    settings = [
        digest([canonical.component(estimator, extra), evaluated, list(versions)]) for extra in maps
    ]
    return SearchKeys(family_of(estimator, evaluator), tuple(settings))


def family_of(estimator: Any, evaluator: Any) -> str:
    return digest(["family", *_classes(estimator), "|", *_classes(evaluator)])


class UnsetSeed(NamedTuple):
    """A param that nobody has set, whose it is, and Spark's default: another in each process."""

    param: Any
    owner: str
    value: int


def unset_seeds(tuner: Any, estimator: Any, maps: Sequence[Any]) -> dict[str, UnsetSeed]:
    """The seeds that nobody has set, by the place of their owner."""
    in_grid = {str(param) for extra in maps for param in extra}
    found: dict[str, UnsetSeed] = {}
    inner = [
        owner
        for at, extra in enumerate(maps)
        for value in extra.values()
        for owner in _inner(value, f"grid.{at}")
        if isinstance(value, (list, tuple, Params))
    ]
    for place, owner in [*_owners(tuner, estimator), *inner]:
        param = next((one for one in defaults(owner) if one.name == "seed"), None)
        if param is None or param in set_values(owner) or str(param) in in_grid:
            continue
        found[place] = UnsetSeed(param, type(owner).__name__, defaults(owner)[param])
    return found


def recorded_seeds(tuner: Any, look_up: Callable[[str], Mapping[str, int]]) -> dict[Any, int]:
    """A param map with the seeds of an earlier search, of those params that nobody has set."""
    estimator, maps = tuner.getEstimator(), tuner.getEstimatorParamMaps()
    seeds = unset_seeds(tuner, estimator, maps)
    if not seeds:
        return {}
    recorded = look_up(family_of(estimator, tuner.getEvaluator()))
    return {seed.param: recorded[place] for place, seed in seeds.items() if place in recorded}


def _owners(tuner: Any, estimator: Any) -> Iterator[tuple[str, Any]]:
    # A score is drawn from the folds as well, but only where no column says them.
    if isinstance(tuner, Params) and not _value(tuner, "foldCol"):
        yield TUNER, tuner
    yield from _inner(estimator, "")


def _inner(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Params):
        yield place or "estimator", value
        for param, inner in values(value).items():
            if param.name != "estimatorParamMaps":
                yield from _inner(inner, f"{place}.{param.name}" if place else param.name)
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(value):
            yield from _inner(inner, f"{place}.{at}")


def _value(component: Any, name: str) -> Any:
    return next((value for param, value in values(component).items() if param.name == name), None)


def _classes(value: Any) -> list[Any]:
    if isinstance(value, Params):
        inner = [
            _classes(each)
            for param, each in values(value).items()
            if param.name != "estimatorParamMaps" and isinstance(each, (Params, list, tuple))
        ]
        return [f"{type(value).__module__}.{type(value).__qualname__}", *filter(None, inner)]
    if isinstance(value, (list, tuple)):
        return [_classes(each) for each in value if isinstance(each, Params)]
    return []
