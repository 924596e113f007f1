"""Counts, scores, durations and texts as people read them."""

from __future__ import annotations

import math

import pytest

from trackmllib.support import formatting


@pytest.mark.parametrize(
    ("amount", "words"),
    [(0, "0 operations wait"), (1, "1 operation waits"), (1500, "1,500 operations wait")],
)
def test_count_agrees_with_its_noun(amount, words):
    assert formatting.count(amount, "operation waits", "operations wait") == words
    assert formatting.count(amount, "operation") == words.rpartition(" ")[0]


@pytest.mark.parametrize(
    ("average", "deviation", "text"),
    [
        (0.842, 0.006, "0.842 ± 0.006"),
        (0.842, 0.02, "0.842 ± 0.020"),
        (0.99912, 0.00002, "0.99912 ± 0.00002"),
        (12345.6, 234.0, "12346 ± 234"),
        (-0.5, 0.25, "−0.500 ± 0.250"),
        (0.8421, None, "0.8421"),
        (math.inf, None, "∞"),
        (-math.inf, 0.0, "−∞ ± 0.000"),
        (math.nan, math.nan, "NaN ± NaN"),
        (0.5, None, "0.5000"),
        (123456.0, 1234.0, "123456 ± 1234"),
        (3e-9, 1e-10, "0.00000000300 ± 0.00000000010"),
        (1e-30, None, "1e−30"),
        (None, None, "–"),
    ],
)
def test_score_has_the_digits_its_deviation_needs(average, deviation, text):
    assert formatting.score(average, deviation) == text


def test_duration():
    read = [formatting.duration(each) for each in (0.1234, 3.21, 48.2, 200, 7500, None)]
    assert read == ["0.12 s", "3.2 s", "48 s", "3 min 20 s", "2 h 05 min", "–"]


def test_visible_text_has_no_control_characters():
    assert formatting.visible("a\x00b\u202ec\nd", 99) == "a�b�c�d"
    assert formatting.visible("x" * 5000, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "1 s"),
        (11.6, "12 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (170, "3 min"),
        (3580, "1 h"),
        (4800, "1 h 20 min"),
        (183_600, "2 d 3 h"),
        (172_800, "2 d"),
    ],
)
def test_rough_duration(seconds, words):
    assert formatting.rough_duration(seconds) == words
    assert formatting.time_left(seconds) == f"about {words} left"
    assert formatting.time_left(None) == ""


def test_text_fits_its_width():
    assert [formatting.display_width(text) for text in ("abc", "日本", "🎉", "e\u0301", "")] == [
        3,
        4,
        2,
        1,
        0,
    ]
    assert formatting.fit_width("abcdef", 6) == "abcdef"
    assert formatting.fit_width("abcdefg", 6) == "abcde…"
    assert formatting.fit_width("日本語", 5) == "日本…"
    assert formatting.fit_width("日本語日", 6) == "日本…"


@pytest.mark.parametrize(
    ("number", "text"), [(12, "12 bytes"), (90_177_536, "86 MiB"), (2**50, "1.02e+03 TiB")]
)
def test_size(number, text):
    assert formatting.size(number) == text


def test_table_aligns_its_columns():
    rows = [("", "name", "score"), ("1", "日本", "0.5"), ("2", "abcdef", "")]
    assert formatting.table(rows) == ["   name    score", "1  日本    0.5", "2  abcdef"]
