"""Operations: what may overtake what, and batches that become one."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trackmllib import limits
from trackmllib.operations import (
    CloseSearch,
    CreateChildRun,
    Describe,
    Destination,
    EndRun,
    LogArtifact,
    LogBatch,
    LogDataset,
    Metric,
    OpenMainRun,
    Row,
    coalesce,
    ready,
)
from trackmllib.outbox import wire


def batch(candidate, *values):
    metrics = tuple(Metric("m", float(v), v, v) for v in values)
    return LogBatch(search_id="s", candidate=candidate, metrics=metrics)


def end(candidate):
    return EndRun(search_id="s", candidate=candidate, status="FINISHED", end_ms=1)


CREATE = CreateChildRun(search_id="s", candidate=0, name="n", start_ms=0, tags=())
FILE = LogArtifact(search_id="s", file_name="f", text="")


def rows(*operations):
    return [Row(number, operation) for number, operation in enumerate(operations, 1)]


def test_all_of_a_child_run_is_ready_and_becomes_three_operations():
    waiting = rows(CREATE, batch(0, 1), batch(0, 2), batch(0, 3), end(0))
    assert list(ready(waiting)) == waiting
    merged = coalesce(waiting)
    assert [numbers for numbers, _, _ in merged] == [[1], [2, 3, 4], [5]]
    assert merged[1][1] == batch(0, 1, 2, 3)


def test_the_end_and_the_files_of_the_main_run_wait_for_their_turn():
    assert list(ready(rows(batch(None, 1), batch(None, 2), FILE))) == rows(
        batch(None, 1), batch(None, 2)
    )
    assert list(ready(rows(batch(None, 1), end(None)))) == rows(batch(None, 1))
    assert list(ready(rows(FILE, batch(None, 1), end(None)))) == rows(FILE, batch(None, 1))
    assert list(ready(rows(end(None)))) == rows(end(None))


def test_batches_are_not_merged_over_another_operation():
    merged = coalesce(rows(batch(None, 1), FILE, batch(None, 2), batch(None, 3)))
    assert [numbers for numbers, _, _ in merged] == [[1], [2], [3, 4]]


def test_a_child_run_ends_behind_all_that_is_there_for_it():
    """What is said of it after its end, as that it won, costs no request of its own."""
    merged = coalesce(rows(CREATE, batch(0, 1), end(0), batch(0, 2), batch(1, 1), end(1)))
    assert [numbers for numbers, _, _ in merged] == [[1], [2, 4], [3], [5], [6]]
    assert merged[2].operation == end(0)


def test_a_main_run_ends_where_it_was_put():
    close = CloseSearch(search_id="s")
    assert [o for _, o, _ in coalesce(rows(end(None), close))] == [end(None), close]


texts = st.text(st.characters(exclude_categories=()), max_size=12)
pairs = st.tuples(texts, texts)
destinations = st.builds(Destination, tracking_uri=st.just("http://s"), experiment_name=texts)
metrics = st.builds(Metric, texts, st.just(1.0), st.just(0))
each = {"search_id": st.just("s")}
operations = st.one_of(
    st.builds(
        OpenMainRun,
        **each,
        destination=destinations,
        name=texts,
        start_ms=st.just(0),
        description=texts,
    ),
    st.builds(CreateChildRun, **each, name=texts, start_ms=st.just(0), tags=st.tuples(pairs)),
    st.builds(
        LogBatch,
        **each,
        params=st.tuples(pairs),
        metrics=st.tuples(metrics),
        tags=st.tuples(pairs),
    ),
    st.builds(LogArtifact, **each, file_name=st.just("f"), text=texts),
    st.builds(Describe, **each, text=texts),
    st.builds(LogDataset, **each, digest=texts, path=st.none() | texts, schema=st.tuples(pairs)),
    st.builds(EndRun, **each, status=st.just("FAILED"), end_ms=st.just(0), tags=st.tuples(pairs)),
)


def texts_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from texts_of(each)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from texts_of(getattr(value, field.name))


@given(operations)
@example(LogBatch(search_id="s", params=(("a\x00", "b\ud800"),)))
def test_operations_have_no_rejected_characters(operation):
    for text in texts_of(operation):
        text.encode("utf-8")
        assert "\x00" not in text
    assert wire.operation(wire.to_text(operation)) == operation


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\x00b", r"a\x00b"),
        ("\ud800\udfff", r"\ud800\udfff"),
        ("\x01\x1b\x7f\x85\u2028\uffff\n\t", "\x01\x1b\x7f\x85\u2028\uffff\n\t"),
        (r"\x00 é 😀", r"\x00 é 😀"),
    ],
)
def test_only_rejected_characters_are_escaped(text, escaped):
    assert limits.escaped(text) == escaped
    assert LogBatch(search_id="s", tags=(("t", text),)).tags == (("t", escaped),)


def test_escaped_text_keeps_mlflows_length_limit():
    assert len(limits.param_value("\x00" * limits.MAX_PARAM_VALUE)) == limits.MAX_PARAM_VALUE
    assert len(limits.tag_value("\ud800" * limits.MAX_TAG_VALUE)) == limits.MAX_TAG_VALUE
