"""Keys of fits: where two are equal, Spark would compute equal scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pyspark.ml.param import Params

from trackmllib.guard import attempt
from trackmllib.redaction import Hides, looks_secret
from trackmllib.spark.components import defaults, set_values, values
from trackmllib.spark.libraries import name_of
from trackmllib.spark.resuming.fingerprint import Fingerprints, Unsound, digest
from trackmllib.spark.resuming.rows import Fold

TUNER = "tuner"
# Part of the keys if the estimator fits the grid as a whole: then all scores are reused, or none.
WHOLE_GRID = "grid"
_ONLY_YOU_KNOW = (
    "trackmllib cannot tell whether your own code has changed since an earlier search; set "
    'autolog(code_version="1"), and change the version whenever you change the code'
)


@dataclass(frozen=True)
class LoopKeys:
    """Parts of the keys that all folds of one loop have in common.

    ``settings`` has one fingerprint per candidate: the estimator with the candidate's params.
    ``parts`` has those of everything else except the data, by the name of the part.
    """

    family: str
    settings: tuple[str, ...]
    parts: Mapping[str, str]

    def of_fold(self, fold: Fold) -> list[str]:
        """Return the keys of the fits of a fold, by candidate."""
        rest = sorted({**self.parts, **fold}.items())
        return [digest([setting, rest]) for setting in self.settings]


def keys_for(
    tuner: Any,
    estimator: Any,
    evaluator: Any,
    maps: Sequence[Any],
    *,
    spark: str = "",
    conf: Mapping[str, str] | None = None,
    code_version: str | None = None,
    hides: Hides = looks_secret,
) -> LoopKeys:
    """Compute the keys of a loop over folds, without its data.

    :raises Unsound: A part cannot be compared with an earlier search, or is the user's own code
        and ``code_version`` is None.
    """
    prints = Fingerprints(hides=hides)
    evaluated = prints.component(evaluator, beside=estimator)
    settings = tuple(prints.component(estimator, extra) for extra in maps)
    versions = [spark, prints.code_of(type(tuner))]
    if prints.own_code is not None:
        if code_version is None:
            raise Unsound(prints.own_code, _ONLY_YOU_KNOW)
        first = dict(zip(settings, maps, strict=True))
        equal = (first[setting] == extra for setting, extra in zip(settings, maps, strict=True))
        if not attempt(lambda: all(map(bool, equal)), False):
            raise Unsound("the grid", "trackmllib cannot tell some candidates apart")
    parts = {
        "evaluator": evaluated,
        "version": digest(versions),
        "code_version": digest(code_version if prints.own_code else None),
        "Spark conf": digest(dict(conf or {})),
    }
    if not is_of_spark(estimator, "fitMultiple"):
        parts[WHOLE_GRID] = digest(list(settings))
    return LoopKeys(family_of(estimator, evaluator), settings, parts)


def is_of_spark(owner: Any, name: str) -> bool:
    """Whether an object has Spark's own method of this name, or none."""
    definer = next((each for each in type(owner).__mro__ if name in vars(each)), Params)
    return definer.__module__.startswith("pyspark.ml.")


def family_of(estimator: Any, evaluator: Any) -> str:
    """Digest that searches share if they may reuse each other's scores."""
    owners = [*_inner(estimator, ""), *_inner(evaluator, TUNER)]
    return digest(["family", *([place, name_of(type(owner))] for place, owner in owners)])


class UnsetSeed(NamedTuple):
    """An unset seed param, its owner, and the default of this process."""

    param: Any
    owner: str
    value: int


def unset_seeds(tuner: Any, estimator: Any, maps: Sequence[Any]) -> dict[str, UnsetSeed]:
    """Return the unset seeds, by the place of their owner."""
    in_grid = {str(param) for extra in maps for param in extra}
    owners = [*_inner(estimator, ""), *_inner([list(extra.values()) for extra in maps], "grid")]
    if isinstance(tuner, Params) and not attempt(lambda: tuner.getFoldCol(), ""):
        # Without a fold column, Spark draws the folds with the seed of the tuner.
        owners.append((TUNER, tuner))
    found: dict[str, UnsetSeed] = {}
    for place, owner in owners:
        param = next((one for one in defaults(owner) if one.name == "seed"), None)
        if param is not None and param not in set_values(owner) and str(param) not in in_grid:
            found[place] = UnsetSeed(param, type(owner).__name__, defaults(owner)[param])
    return found


def recorded_seeds(tuner: Any, look_up: Callable[[str], Mapping[str, int]]) -> dict[Any, int]:
    """Seeds of an earlier search for the unset seed params, a param map."""
    estimator, maps = tuner.getEstimator(), tuner.getEstimatorParamMaps()
    seeds = unset_seeds(tuner, estimator, maps)
    if not seeds:
        return {}
    recorded = look_up(family_of(estimator, tuner.getEvaluator()))
    return {seed.param: recorded[place] for place, seed in seeds.items() if place in recorded}


def _inner(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield all components in a component or a list, with their places."""
    if isinstance(value, Params):
        yield place or "estimator", value
        for param, inner in values(value).items():
            if param.name != "estimatorParamMaps":
                yield from _inner(inner, f"{place}.{param.name}" if place else param.name)
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(value):
            yield from _inner(inner, f"{place}.{at}")


def resumable(
    tuner: Any, estimator: Any, maps: Sequence[Any], code_version: str | None = None
) -> str:
    """Say in a sentence whether scores can be reused, and otherwise why not."""
    if attempt(lambda: bool(tuner.getCollectSubModels()), False):
        return "no score can be reused, because collectSubModels requires the model of each fit."
    try:
        keys_for(tuner, estimator, tuner.getEvaluator(), maps, code_version=code_version)
    except Exception as error:  # noqa: BLE001 - this runs the user's own code
        return f"no score can be reused, because of {error}."
    unset = unset_seeds(tuner, estimator, maps)
    if unset:
        names = " and ".join(sorted({seed.owner for seed in unset.values()}))
        return (
            'scores can be reused, but in another process only with resume="seed", because no seed '
            f"is set on {names}."
        )
    return "scores can be reused."
