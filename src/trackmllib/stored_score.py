"""Score in a tag of its child run, for later searches to reuse.

Each fold has a tag that holds the whole score: MLflow returns the tags of a thousand runs with one
request, but the points of a metric only one by one.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from trackmllib import json_kinds
from trackmllib.events import Earlier

# On main runs and on child runs: the family of searches that may take them up.
RESUMABLE = "trackmllib.resumable"
SEEDS = "trackmllib.seeds"
# On child runs and main runs that go on where others ended, and on those others.
RESUMED_FROM = "trackmllib.resumed_from"
RESUMED_BY = "trackmllib.resumed_by"
TAG = "trackmllib.cell."
_NAME = re.compile(r"trackmllib\.cell\.(0|[1-9][0-9]*)", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{32}")
_parts = json_kinds.mapping_of(json_kinds.text)


@dataclass(frozen=True, kw_only=True)
class StoredScore:
    """Score of the fit with this key.

    ``parts`` has the fingerprint of each part of the key, cut to ``PART`` characters.
    """

    PART: ClassVar[int] = 8

    key: str
    parts: Mapping[str, str]
    earlier: Earlier

    def differs(self, parts: Mapping[str, str], candidates: Iterable[str]) -> set[str]:
        """Names of the parts that differ from a fold and all its candidates."""
        short = {name: part[: self.PART] for name, part in parts.items()}
        same = {name for name, part in self.parts.items() if short.get(name) == part}
        if self.parts.get("candidate") in {each[: self.PART] for each in candidates}:
            same.add("candidate")
        return {*self.parts, *parts, "candidate"} - same


@dataclass(frozen=True, kw_only=True)
class EarlierScores:
    """What was found of earlier searches, by key: of the ``wanted`` keys, and some of ``others``.

    ``unreadable`` were cut or changed; ``not_seen`` says what could not be looked at, and why.
    """

    wanted: Mapping[str, StoredScore] = field(default_factory=dict)
    others: Mapping[str, StoredScore] = field(default_factory=dict)
    unreadable: int = 0
    not_seen: str = ""


def tag(fold: int, stored: StoredScore) -> tuple[str, str]:
    """Name and value of the tag."""
    earlier = stored.earlier
    values = [
        stored.key,
        {name: part[: stored.PART] for name, part in stored.parts.items()},
        earlier.score,
        *(earlier.fit_seconds, earlier.evaluate_seconds, earlier.start_ms, earlier.end_ms),
    ]
    return f"{TAG}{fold}", json.dumps([*values, _check(values)])


def is_tag(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def read(text: str, search_id: str, run_id: str | None) -> StoredScore:
    """The score in a tag on a run of a search. ValueError if it is cut, changed or invalid."""
    values = json_kinds.parsed(text)
    if not isinstance(values, list) or len(values) != 8 or _check(values[:-1]) != values[-1]:
        raise ValueError("not as it was written")
    key, parts, score, fit_seconds, evaluate_seconds, start_ms, end_ms, _ = values
    if not (isinstance(key, str) and _DIGEST.fullmatch(key)):
        raise ValueError("no key")
    if type(score) is not float or not math.isfinite(score):
        raise ValueError("no number")
    return StoredScore(
        key=key,
        parts=_parts(parts),
        earlier=Earlier(
            score=score,
            fit_seconds=json_kinds.seconds(fit_seconds),
            evaluate_seconds=json_kinds.seconds(evaluate_seconds),
            start_ms=json_kinds.time_ms(start_ms),
            end_ms=json_kinds.time_ms(end_ms),
            search_id=search_id,
            run_id=run_id,
        ),
    )


def _check(values: list[object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
