"""Tags of child runs with scores that later searches can reuse.

Scores are tags, not metrics, because one request to MLflow returns the tags of a thousand runs, but
the values of a metric of only one.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from trackmllib.domain.descriptions import PriorScore
from trackmllib.support import json_validation

# On parent runs and child runs: the family of searches that can reuse their scores.
RESUMABLE = "trackmllib.resumable"
SEEDS = "trackmllib.seeds"
# On runs with reused scores, and on the runs that these scores come from.
RESUMED_FROM = "trackmllib.resumed_from"
RESUMED_BY = "trackmllib.resumed_by"
TAG = "trackmllib.fit."
_NAME = re.compile(r"trackmllib\.fit\.(0|[1-9][0-9]*)", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{32}")
_parts = json_validation.mapping_of(json_validation.string)


def _metric(data: object) -> tuple[float, str]:
    if not isinstance(data, list) or len(data) != 2:
        raise ValueError("no metric")
    return json_validation.number(data[0]), json_validation.string(data[1])


_metrics = json_validation.mapping_of(_metric)


@dataclass(frozen=True, kw_only=True)
class StoredScore:
    """Score and the key of its fit.

    ``parts`` are the first ``PART`` characters of the fingerprints that make up the key,
    ``metrics`` those of the further metrics in ``prior``.
    """

    PART: ClassVar[int] = 8

    key: str
    parts: Mapping[str, str]
    prior: PriorScore
    metrics: Mapping[str, str] = field(default_factory=dict)

    def has_metrics(self, wanted: Mapping[str, str]) -> bool:
        """Whether each metric has a value and this fingerprint."""
        return all(self.metrics.get(name) == print_[: self.PART] for name, print_ in wanted.items())

    def prior_with(self, wanted: Mapping[str, str]) -> PriorScore:
        """The score with only these metrics."""
        metrics = tuple((name, value) for name, value in self.prior.metrics if name in wanted)
        return replace(self.prior, metrics=metrics)

    def differs(
        self, parts: Mapping[str, str], candidates: Iterable[str], metrics: Mapping[str, str]
    ) -> set[str]:
        """Names of the parts that differ from those of a fold and its candidates."""
        short = {name: part[: self.PART] for name, part in parts.items()}
        same = {name for name, part in self.parts.items() if short.get(name) == part}
        if self.parts.get("candidate") in {each[: self.PART] for each in candidates}:
            same.add("candidate")
        differ = {*self.parts, *parts, "candidate"} - same
        return differ if self.has_metrics(metrics) else {*differ, "metrics"}


@dataclass(frozen=True, kw_only=True)
class PriorScores:
    """Scores of prior searches by key.

    ``wanted`` have the requested keys and metrics, ``others`` are some of the rest. ``unreadable``
    counts truncated or changed tags. ``read_error`` says why other scores could not be read, if
    any.
    """

    wanted: Mapping[str, StoredScore] = field(default_factory=dict)
    others: Mapping[str, StoredScore] = field(default_factory=dict)
    unreadable: int = 0
    read_error: str = ""


def tag(fold: int, stored: StoredScore) -> tuple[str, str]:
    """Name and value of the tag for a score."""
    prior = stored.prior
    values = [
        stored.key,
        {name: part[: stored.PART] for name, part in stored.parts.items()},
        prior.score,
        *(prior.fit_seconds, prior.evaluate_seconds, prior.start_ms, prior.end_ms),
    ]
    metrics = {
        name: [value, stored.metrics[name][: stored.PART]]
        for name, value in prior.metrics
        if name in stored.metrics
    }
    if metrics:
        values.append(metrics)
    return f"{TAG}{fold}", json.dumps([*values, _check(values)])


def is_tag(name: str) -> bool:
    """Whether a tag of this name holds a score."""
    return _NAME.fullmatch(name) is not None


def read(text: str, search_id: str, run_id: str | None) -> StoredScore:
    """Score in a tag of a run of this search.

    Raises ValueError if the tag is truncated, changed or invalid.
    """
    values = json_validation.parse(text)
    if not isinstance(values, list) or len(values) not in (8, 9):
        raise ValueError("not as it was written")
    if _check(values[:-1]) != values[-1]:
        raise ValueError("not as it was written")
    key, parts, score, fit_seconds, evaluate_seconds, start_ms, end_ms, *further, _ = values
    metrics = _metrics(further[0] if further else {})
    if not (isinstance(key, str) and _DIGEST.fullmatch(key)):
        raise ValueError("no key")
    if type(score) is not float or not math.isfinite(score):
        raise ValueError("no number")
    return StoredScore(
        key=key,
        parts=_parts(parts),
        metrics={name: print_ for name, (_, print_) in metrics.items()},
        prior=PriorScore(
            score=score,
            fit_seconds=json_validation.seconds(fit_seconds),
            evaluate_seconds=json_validation.seconds(evaluate_seconds),
            start_ms=json_validation.time_ms(start_ms),
            end_ms=json_validation.time_ms(end_ms),
            search_id=search_id,
            run_id=run_id,
            metrics=tuple((name, value) for name, (value, _) in metrics.items()),
        ),
    )


def _check(values: list[object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
