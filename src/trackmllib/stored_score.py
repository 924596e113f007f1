"""A score as it stands on its child run, in a tag for each fold, for searches that take it up.

The tag says all there is to know of it: MLflow returns the tags of a thousand runs with one
request, but the points of a metric only one by one.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, kw_only=True)
class StoredScore:
    """The score of the cell ``key``; ``setting`` and ``rows`` say what the key was made of."""

    key: str
    setting: str
    rows: str
    earlier: Earlier


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
        *(stored.key, stored.setting, stored.rows, earlier.score),
        *(earlier.fit_seconds, earlier.evaluate_seconds, earlier.start_ms, earlier.end_ms),
    ]
    return f"{TAG}{fold}", json.dumps([*values, _check(values)])


def is_tag(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def read(text: str, search_id: str, run_id: str | None) -> StoredScore:
    """The score in a tag on a run of a search. ValueError if it is cut, changed or invalid."""
    values = json_kinds.parsed(text)
    if not isinstance(values, list) or len(values) != 9 or _check(values[:-1]) != values[-1]:
        raise ValueError("not as it was written")
    key, setting, rows, score, fit_seconds, evaluate_seconds, start_ms, end_ms, _ = values
    if not all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in (key, setting, rows)):
        raise ValueError("no keys")
    if type(score) is not float or not math.isfinite(score):
        raise ValueError("no number")
    return StoredScore(
        key=key,
        setting=setting,
        rows=rows,
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
