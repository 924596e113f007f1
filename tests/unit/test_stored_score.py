"""A score in a tag comes back to the last bit, and what is not as it was written does not."""

from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackmllib import stored_score
from trackmllib.events import Earlier
from trackmllib.stored_score import StoredScore

digests = st.text("0123456789abcdef", min_size=32, max_size=32)
parts = st.text("0123456789abcdef", min_size=8, max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
scores = st.builds(
    StoredScore,
    key=digests,
    parts=st.dictionaries(st.sampled_from(["rows", "layout", "evaluator"]), parts),
    earlier=st.builds(
        Earlier,
        score=finite,
        fit_seconds=st.floats(0, 1e6),
        evaluate_seconds=st.floats(0, 1e6),
        start_ms=st.integers(0, 2**45),
        end_ms=st.integers(0, 2**45),
        search_id=st.just("s"),
        run_id=st.just("r"),
    ),
)


@given(scores, st.integers(0, 100))
def test_there_and_back(score, fold):
    name, text = stored_score.tag(fold, score)
    assert stored_score.is_tag(name)
    assert stored_score.read(text, "s", "r") == score
    assert len(text) < 500


@given(scores, st.data())
def test_a_tag_of_which_one_character_was_changed_is_not_read(score, data):
    _, text = stored_score.tag(0, score)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from('0123456789abcdef.-"[],x').filter(lambda c: c != text[at]))
    changed = text[:at] + other + text[at + 1 :]
    try:
        again = stored_score.read(changed, "s", "r")
    except ValueError:
        return
    # White space and the like, which change nothing.
    assert again == score


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_taken_up(score):
    stored = StoredScore(
        key="0" * 32,
        parts={"rows": "1" * 8},
        earlier=Earlier(
            score=score, fit_seconds=1.0, evaluate_seconds=1.0, start_ms=1, end_ms=2, search_id="s"
        ),
    )
    _, text = stored_score.tag(0, stored)
    with pytest.raises(ValueError, match="no number"):
        stored_score.read(text, "s", "r")


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
    assert stored_score.read(forged(), "s", "r").earlier.end_ms == 2
    with pytest.raises(ValueError, match=r"no number|must be a (number of seconds|time)"):
        stored_score.read(forged(**{name: value}), "s", "r")


def test_number_beyond_double_is_rejected():
    with pytest.raises(ValueError, match="not as it was written"):
        stored_score.read(forged().replace("0.5", "1e400"), "s", "r")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(anything, min_size=8, max_size=8) | anything)
def test_forged_tag_is_rejected(values):
    names = ("key", "setting", "rows", "score", *SECONDS, *TIMES)
    is_list = isinstance(values, list) and len(values) == 8
    text = forged(**dict(zip(names, values, strict=True))) if is_list else json.dumps(values)
    with pytest.raises(ValueError):  # noqa: PT011 - of json, or of ours
        stored_score.read(text, "s", "r")


def test_deeply_nested_tag_is_rejected():
    for text in ("[" * 100_000, "[" * 4_000 + "]" * 4_000):
        with pytest.raises(ValueError):  # noqa: PT011 - of json, or of ours
            stored_score.read(text, "s", "r")


@pytest.mark.parametrize("text", ["", "1", "[]", "{}", "null", "[" * 20, json.dumps(["a"] * 9)])
def test_other_texts(text):
    with pytest.raises(ValueError):  # noqa: PT011 - of json, or of ours
        stored_score.read(text, "s", "r")


@pytest.mark.parametrize("name", ["trackmllib.cell.", "trackmllib.cell.01", "trackmllib.cell.x"])
def test_other_tags(name):
    assert not stored_score.is_tag(name)
