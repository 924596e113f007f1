"""Scores in tags: an exact round trip, and rejection of every changed tag."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackmllib.domain import score_tags
from trackmllib.domain.descriptions import PriorScore
from trackmllib.domain.score_tags import StoredScore

pytestmark = pytest.mark.versions

digests = st.text("0123456789abcdef", min_size=32, max_size=32)
parts = st.text("0123456789abcdef", min_size=8, max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
scores = st.builds(
    StoredScore,
    key=digests,
    parts=st.dictionaries(st.sampled_from(["rows", "layout", "evaluator"]), parts),
    prior=st.builds(
        PriorScore,
        score=finite,
        fit_seconds=st.floats(0, 1e6),
        evaluate_seconds=st.floats(0, 1e6),
        start_ms=st.integers(0, 2**45),
        end_ms=st.integers(0, 2**45),
        search_id=st.just("s"),
        run_id=st.just("r"),
    ),
)


def with_metrics(score: StoredScore, values: dict[str, float]) -> StoredScore:
    prints = {name: f"{number:08x}" for number, name in enumerate(values)}
    prior = replace(score.prior, metrics=tuple(values.items()))
    return replace(score, metrics=prints, prior=prior)


metric_values = st.dictionaries(st.sampled_from(["accuracy", "train_f1"]), st.floats())


@given(scores, metric_values)
def test_tag_with_metrics_round_trip(score, values):
    expected = with_metrics(score, values)
    _, text = score_tags.tag(0, expected)
    assert repr(score_tags.read(text, "s", "r")) == repr(expected)


def test_score_has_metrics_with_equal_fingerprints_only():
    score = with_metrics(
        StoredScore(
            key="0" * 32,
            parts={},
            prior=PriorScore(
                score=1.0, fit_seconds=1, evaluate_seconds=1, start_ms=1, end_ms=2, search_id="s"
            ),
        ),
        {"accuracy": 0.5, "train_f1": 0.25},
    )
    assert score.has_metrics({})
    assert score.has_metrics({"train_f1": "00000001" + "f" * 24})
    assert not score.has_metrics({"train_f1": "00000002"})
    assert not score.has_metrics({"recall": "00000001"})
    assert score.prior_with({"train_f1": "00000001"}).metrics == (("train_f1", 0.25),)


@pytest.mark.parametrize("metrics", [[], {"f1": 0.5}, {"f1": [0.5]}, {"f1": ["x", "0" * 8]}])
def test_invalid_metrics_are_rejected(metrics):
    _, text = score_tags.tag(
        0,
        StoredScore(
            key="0" * 32,
            parts={},
            prior=PriorScore(
                score=1.0, fit_seconds=1, evaluate_seconds=1, start_ms=1, end_ms=2, search_id="s"
            ),
        ),
    )
    values = [*json.loads(text)[:-1], metrics]
    values.append(hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16])
    with pytest.raises(ValueError, match=r"."):
        score_tags.read(json.dumps(values), "s", "r")


@given(scores, st.integers(0, 100))
def test_tag_round_trip(score, fold):
    name, text = score_tags.tag(fold, score)
    assert score_tags.is_tag(name)
    assert score_tags.read(text, "s", "r") == score
    assert len(text) < 500


@given(scores, st.data())
def test_tag_with_a_changed_character_is_rejected(score, data):
    _, text = score_tags.tag(0, score)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from('0123456789abcdef.-"[],x').filter(lambda c: c != text[at]))
    changed = text[:at] + other + text[at + 1 :]
    try:
        again = score_tags.read(changed, "s", "r")
    except ValueError:
        return
    # White space, say, which changes nothing.
    assert again == score


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_score_that_is_not_finite_is_rejected(score):
    stored = StoredScore(
        key="0" * 32,
        parts={"rows": "1" * 8},
        prior=PriorScore(
            score=score, fit_seconds=1.0, evaluate_seconds=1.0, start_ms=1, end_ms=2, search_id="s"
        ),
    )
    _, text = score_tags.tag(0, stored)
    with pytest.raises(ValueError, match="no number"):
        score_tags.read(text, "s", "r")


def forged(**changes) -> str:
    """A tag with these values, and a valid checksum for them."""
    values = {
        **{"key": "0" * 32, "parts": {"rows": "1" * 8}, "score": 0.5},
        **{"fit_seconds": 1.0, "evaluate_seconds": 1.0, "start_ms": 1, "end_ms": 2},
        **changes,
    }
    text = json.dumps(list(values.values()))
    check = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f'{text[:-1]}, "{check}"]'


SECONDS, TIMES = ("fit_seconds", "evaluate_seconds"), ("start_ms", "end_ms")
HUGE = 10**400
NO_SECONDS = (HUGE, -1.0, math.nan, math.inf, 1e300, True, None, "1", [1.0])
NO_TIMES = (HUGE, -1, 10**15, 1.5, math.inf, math.nan, True, None, "1", {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("score", value) for value in (HUGE, 1, True, None, "0.5", [0.5])),
        *((name, value) for name in SECONDS for value in NO_SECONDS),
        *((name, value) for name in TIMES for value in NO_TIMES),
    ],
)
def test_forged_number_is_rejected(name, value):
    assert score_tags.read(forged(), "s", "r").prior.end_ms == 2
    with pytest.raises(ValueError, match=r"no number|must be a (number of seconds|time)"):
        score_tags.read(forged(**{name: value}), "s", "r")


def test_number_beyond_double_is_rejected():
    with pytest.raises(ValueError, match="not as it was written"):
        score_tags.read(forged().replace("0.5", "1e400"), "s", "r")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(anything, min_size=8, max_size=8) | anything)
def test_forged_tag_is_rejected(values):
    names = ("key", "candidate", "rows", "score", *SECONDS, *TIMES)
    is_list = isinstance(values, list) and len(values) == 8
    text = forged(**dict(zip(names, values, strict=True))) if is_list else json.dumps(values)
    with pytest.raises(ValueError):  # noqa: PT011 - from json or trackmllib
        score_tags.read(text, "s", "r")


def test_deeply_nested_tag_is_rejected():
    for text in ("[" * 100_000, "[" * 4_000 + "]" * 4_000):
        with pytest.raises(ValueError):  # noqa: PT011 - from json or trackmllib
            score_tags.read(text, "s", "r")


@pytest.mark.parametrize("text", ["", "1", "[]", "{}", "null", "[" * 20, json.dumps(["a"] * 9)])
def test_other_texts_are_rejected(text):
    with pytest.raises(ValueError):  # noqa: PT011 - from json or trackmllib
        score_tags.read(text, "s", "r")


@pytest.mark.parametrize("name", ["trackmllib.fit.", "trackmllib.fit.01", "trackmllib.fit.x"])
def test_other_tags_hold_no_score(name):
    assert not score_tags.is_tag(name)
