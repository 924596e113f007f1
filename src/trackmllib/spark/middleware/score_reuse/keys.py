"""Keys of fits: fits with equal keys have equal scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trackmllib.spark.introspection.components import nested_components
from trackmllib.spark.introspection.distributions import name_of
from trackmllib.spark.introspection.estimators import has_spark_method
from trackmllib.spark.middleware.score_reuse.data_fingerprint import FoldFingerprint
from trackmllib.spark.middleware.score_reuse.errors import NotComparable
from trackmllib.spark.middleware.score_reuse.fingerprint import Fingerprints, digest
from trackmllib.support.guard import attempt
from trackmllib.support.redaction import Hides, looks_secret

# Part of the keys if the estimator fits the grid as a whole, so that all scores are reused or none.
WHOLE_GRID = "grid"
_NO_CODE_VERSION = (
    "trackmllib cannot tell whether your own code has changed since an earlier search; set "
    'autolog(code_version="1"), and change the version whenever you change the code'
)


@dataclass(frozen=True)
class LoopKeys:
    """Parts of the keys that all folds of one loop share.

    ``candidates`` has a fingerprint of the estimator with each candidate's params. ``parts`` has
    the fingerprints of everything else except the data, by name. ``metrics`` has those of further
    metrics, which are not part of the keys.
    """

    family: str
    candidates: tuple[str, ...]
    parts: Mapping[str, str]
    metrics: Mapping[str, str]

    def of_fold(self, fold: FoldFingerprint) -> list[str]:
        """Return the keys of the fits of a fold, by candidate."""
        rest = sorted({**self.parts, **fold}.items())
        return [digest([candidate, rest]) for candidate in self.candidates]


def keys_for(
    tuner: Any,
    estimator: Any,
    evaluator: Any,
    maps: Sequence[Any],
    *,
    metrics: Iterable[tuple[str, Any]] = (),
    spark: str = "",
    conf: Mapping[str, str] | None = None,
    code_version: str | None = None,
    hides: Hides = looks_secret,
) -> LoopKeys:
    """Compute the keys of a loop over folds, without its data.

    :param metrics: The names of further metrics, each with its evaluator.
    :raises NotComparable: A part cannot be compared with an earlier search, or is the user's own
        code and ``code_version`` is None.
    """
    prints = Fingerprints(hides=hides)
    evaluated = prints.component(evaluator, beside=estimator)
    candidates = tuple(prints.component(estimator, extra) for extra in maps)
    versions = [spark, prints.code_of(type(tuner))]
    if prints.user_code is not None:
        if code_version is None:
            raise NotComparable(prints.user_code, _NO_CODE_VERSION)
        first = dict(zip(candidates, maps, strict=True))
        equal = (first[print_] == extra for print_, extra in zip(candidates, maps, strict=True))
        if not attempt(lambda: all(map(bool, equal)), False):
            raise NotComparable("the grid", "trackmllib cannot tell some candidates apart")
    parts = {
        "evaluator": evaluated,
        "version": digest(versions),
        "code_version": digest(code_version),
        "Spark conf": digest(dict(conf or {})),
    }
    if not has_spark_method(estimator, "fitMultiple"):
        parts[WHOLE_GRID] = digest(list(candidates))
    further = _metric_fingerprints(metrics, estimator, code_version, hides)
    return LoopKeys(family_of(estimator, evaluator), candidates, parts, further)


def _metric_fingerprints(
    metrics: Iterable[tuple[str, Any]], estimator: Any, code_version: str | None, hides: Hides
) -> dict[str, str]:
    """Fingerprints of further metrics, which do not depend on each other."""
    found = {}
    for name, evaluator in metrics:
        prints = Fingerprints(hides=hides)
        fingerprint = prints.component(evaluator, beside=estimator)
        if prints.user_code is not None and code_version is None:
            raise NotComparable(prints.user_code, _NO_CODE_VERSION)
        found[name] = digest([fingerprint, code_version])
    return found


def family_of(estimator: Any, evaluator: Any) -> str:
    """Digest that is equal for searches that may reuse each other's scores."""
    components = [*nested_components(estimator), *nested_components(evaluator, "tuner")]
    return digest(["family", *([place, name_of(type(each))] for place, each in components)])
