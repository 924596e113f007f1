"""Operations have no characters that a server rejects."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trackmllib.domain import mlflow_limits
from trackmllib.domain.operations import (
    CreateChildRun,
    Destination,
    EndRun,
    LogArtifact,
    LogBatch,
    LogDataset,
    Metric,
    OpenParentRun,
    Operation,
    SetDescription,
)
from trackmllib.outbox import serialization
from trackmllib.support.escaping import escaped

texts = st.text(st.characters(exclude_categories=()), max_size=12)
pairs = st.tuples(texts, texts)
destinations = st.builds(Destination, tracking_uri=st.just("http://s"), experiment_name=texts)
metrics = st.builds(Metric, texts, st.just(1.0), st.just(0))
each = {"search_id": st.just("s")}
operations = st.one_of(
    st.builds(
        OpenParentRun,
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
    st.builds(SetDescription, **each, text=texts),
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
    assert serialization.from_text(serialization.to_text(operation), Operation) == operation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x00b", r"a\x00b"),
        ("\ud800\udfff", r"\ud800\udfff"),
        ("\x01\x1b\x7f\x85\u2028\uffff\n\t", "\x01\x1b\x7f\x85\u2028\uffff\n\t"),
        (r"\x00 é 😀", r"\x00 é 😀"),
    ],
)
def test_only_rejected_characters_are_escaped(text, expected):
    assert escaped(text) == expected
    assert LogBatch(search_id="s", tags=(("t", text),)).tags == (("t", expected),)


def test_escaped_text_keeps_mlflows_length_limit():
    assert (
        len(mlflow_limits.param_value("\x00" * mlflow_limits.MAX_PARAM_VALUE))
        == mlflow_limits.MAX_PARAM_VALUE
    )
    assert (
        len(mlflow_limits.tag_value("\ud800" * mlflow_limits.MAX_TAG_VALUE))
        == mlflow_limits.MAX_TAG_VALUE
    )
