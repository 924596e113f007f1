"""A score in a tag comes back to the last bit, and what is not as it was written does not."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackmllib import stored_score
from trackmllib.events import Earlier
from trackmllib.stored_score import StoredScore

digests = st.text("0123456789abcdef", min_size=32, max_size=32)
finite = st.floats(allow_nan=False, allow_infinity=False)
scores = st.builds(
    StoredScore,
    key=digests,
    setting=digests,
    rows=digests,
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
        setting="1" * 32,
        rows="2" * 32,
        earlier=Earlier(
            score=score, fit_seconds=1.0, evaluate_seconds=1.0, start_ms=1, end_ms=2, search_id="s"
        ),
    )
    _, text = stored_score.tag(0, stored)
    with pytest.raises(ValueError, match="no number"):
        stored_score.read(text, "s", "r")


@pytest.mark.parametrize("text", ["", "1", "[]", "{}", "null", "[" * 20, json.dumps(["a"] * 9)])
def test_other_texts(text):
    with pytest.raises(ValueError):  # noqa: PT011 - of json, or of ours
        stored_score.read(text, "s", "r")


@pytest.mark.parametrize("name", ["trackmllib.cell.", "trackmllib.cell.01", "trackmllib.cell.x"])
def test_other_tags(name):
    assert not stored_score.is_tag(name)
