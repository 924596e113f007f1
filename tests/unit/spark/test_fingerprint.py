"""Fingerprints are equal if and only if the values are."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import importlib
import logging
import math
import re
import sys
import threading
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.ml.linalg import Vectors
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.sql import functions
from pyspark.sql.types import DoubleType, IntegerType

from trackmllib.spark.middleware.score_reuse.errors import NotComparable
from trackmllib.spark.middleware.score_reuse.fingerprint import Fingerprints, digest

pytestmark = pytest.mark.versions

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-3, 3, width=16)
    | st.sampled_from(["", "1", "True", "None", "a"])
    | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)


def same(one, other) -> bool:
    """Of the same types and equal all the way down, ``-0.0`` not being ``0.0``."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float):
        return one.hex() == other.hex()
    return one == other


class Made(Params):
    """Something with two params."""

    first = Param(Params._dummy(), "first", "")
    second = Param(Params._dummy(), "second", "")

    def __init__(self, **given):
        super().__init__()
        self._paramMap.update({getattr(self, name): value for name, value in given.items()})


@given(values, values)
def test_equal_values_have_equal_fingerprints(one, other):
    forms = [Fingerprints().value(each) for each in (one, other)]
    assert (forms[0] == forms[1]) == same(one, other)
    assert (digest(forms[0]) == digest(forms[1])) == same(one, other)


@given(values, values, values, values)
def test_equal_components_have_equal_fingerprints(a, b, c, d):
    """Whether the params are set on the component or by a candidate."""
    one, other = Made(first=a, second=b), Made(first=c)
    equal = same(a, c) and same(b, d)
    keys = [
        digest(Fingerprints().component(one)),
        digest(Fingerprints().component(other, {other.second: d})),
    ]
    assert (keys[0] == keys[1]) == equal


def test_own_uid_in_a_name_does_not_count():
    first, second = Made(), Made()
    for one in (first, second):
        one._paramMap[one.first] = f"{one.uid}__output"
    assert Fingerprints().component(first) == Fingerprints().component(second)
    second._paramMap[second.first] = f"{first.uid}__output"
    assert Fingerprints().component(first) != Fingerprints().component(second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.float64(1.0), np.float64(1.0)),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0])),
        (Vectors.dense([1, 2]), Vectors.dense([1, 2])),
        (Vectors.sparse(3, [1], [2.0]), Vectors.sparse(3, [1], [2.0])),
        ({"a", "b"}, {"b", "a"}),
        (math.nan, math.nan),
        (math.sqrt, math.sqrt),
    ],
)
def test_equivalent_values_are_equal(one, other):
    assert Fingerprints().value(one) == Fingerprints().value(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 3.0])),
        (np.array([1, 2]), np.array([1.0, 2.0])),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.int64(1), 1),
        (np.datetime64(1, "s"), np.datetime64(1, "us")),
        (Vectors.dense([0, 2]), Vectors.sparse(2, [1], [2.0])),
        (math.sqrt, math.sin),
        ([1, 2], (1, 2)),
        ({1: 2}, {1: 3}),
    ],
)
def test_similar_values_differ(one, other):
    assert Fingerprints().value(one) != Fingerprints().value(other)


def plus(number):
    return lambda x: x + number


@functools.lru_cache
def cached(x):
    return x


@functools.singledispatch
def dispatched(x):
    return x


dispatched(1)


@functools.wraps(np.mean)
def wrapping(x):
    return 1


@functions.udf(DoubleType())
def udf(x):
    return x


class Helper:
    def __init__(self, factor):
        self.factor = factor


OWN = {
    "a function": plus(1),
    "a cached function": cached,
    "a single-dispatch function": dispatched,
    "a function that wraps a library's": wrapping,
    "a udf": udf,
    "a ufunc": np.frompyfunc(plus(1), 1, 1),
    "a class": Helper,
    "an object": Helper(1),
    "a made class": dataclasses.make_dataclass("Made", ["x"]),
    "an object of a made class": dataclasses.make_dataclass("Made", ["x"])(1),
    "a method": Helper(1).__init__,
    "a function in a partial": functools.partial(plus(1), 2),
    "a module": sys.modules[__name__],
}


@pytest.mark.parametrize("what", OWN)
@pytest.mark.parametrize("where", ["param", "list", "attribute", "object"])
def test_user_code_is_named(what, where):
    made = Made(first=OWN[what] if where == "param" else [OWN[what]])
    if where == "attribute":
        made = Made()
        made.helper = OWN[what]
    elif where == "object":
        made = Made(first=types.SimpleNamespace(inner=OWN[what]))
    prints = Fingerprints()
    form = prints.component(made)
    assert prints.user_code
    assert digest(form) == digest(Fingerprints().component(made))


LIBRARY = {
    "a builtin function": len,
    "a bound builtin": [1].append,
    "a function of numpy": np.mean,
    "a ufunc of numpy": np.add,
    "a random generator": np.random.default_rng(1),
    "a logger": logging.getLogger("x"),
    "a pattern": re.compile("a"),
    "a lock": threading.Lock(),
    "a date": datetime.date(2026, 1, 1),
    "a class": datetime.date,
    "a partial": functools.partial(np.add, 1),
    "an object": object(),
    "a table": pd.DataFrame({"a": [1, 2]}),
}


@pytest.mark.parametrize("what", LIBRARY)
def test_library_code_is_not_user_code(what):
    prints = Fingerprints()
    form = prints.value(LIBRARY[what])
    assert prints.user_code is None
    assert digest(form) == digest(Fingerprints().value(LIBRARY[what]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (plus(1), plus(2)),
        (Helper(1), Helper(2)),
        ([1].append, [2].append),
        (functools.partial(np.add, 1), functools.partial(np.add, 2)),
        (np.random.default_rng(1), np.random.default_rng(2)),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
        (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)),
        (np.array([0.0]), np.array([-0.0])),
        ([0.0], [-0.0]),
        ({0.0}, {-0.0}),
    ],
)
def test_state_held_by_code_counts(one, other):
    assert Fingerprints().value(one) != Fingerprints().value(other)


@pytest.mark.filterwarnings("ignore:Cannot infer the eval type:UserWarning")
def test_udf_return_type_counts():
    udfs = [functions.udf(np.mean, kind) for kind in (DoubleType(), IntegerType(), DoubleType())]
    forms = [Fingerprints().value(each) for each in udfs]
    assert forms[0] == forms[2] != forms[1]


def test_attribute_named_like_a_global_counts():
    made = [Made(), Made()]
    for each in made:
        each.plus = 1
    assert len({Fingerprints().component(each) for each in made}) == 1
    made[1].plus = 2
    assert len({Fingerprints().component(each) for each in made}) == 2


def test_package_without_init_is_user_code(tmp_path, monkeypatch):
    (tmp_path / "without_init").mkdir()
    (tmp_path / "without_init" / "scoring.py").write_text("def score(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    prints = Fingerprints()
    assert prints.value(importlib.import_module("without_init.scoring").score)
    assert prints.user_code == "the function score"


def test_incomparable_closure_variable_is_user_code():
    def make(lines):
        return lambda: next(lines)

    prints = Fingerprints()
    assert prints.value(make(iter(sys.stdin)))
    assert prints.user_code


def test_type_converter_counts():
    class Converting(Params):
        first = Param(Params._dummy(), "first", "", TypeConverters.toFloat)

    class ConvertingOtherwise(Params):
        first = Param(Params._dummy(), "first", "", lambda value: value * 2)

    prints = [Fingerprints(), Fingerprints()]
    forms = []
    for each, cls in zip(prints, (Converting, ConvertingOtherwise), strict=True):
        cls.__qualname__ = cls.__name__ = "Converting"
        one = cls()
        one._set(first=1.0)
        forms.append(each.component(one, {one.first: 2.0}))
    assert forms[0] != forms[1]


def test_param_of_an_outside_component_counts():
    """The estimator's code may read a component that is not in its params."""
    inner, outer = Made(first=1), Made()
    assert Fingerprints().component(outer, {inner.first: 5}) != Fingerprints().component(outer, {})


def test_recursive_list_has_a_fingerprint():
    endless: list = [1]
    endless.append(endless)
    assert Fingerprints().value(endless) == ["list", ["int", "1"], ["again", 1]]


@pytest.mark.parametrize("thing", [(x for x in []), sys.stdout, threading.local()])
def test_incomparable_value_raises_not_comparable(thing):
    with pytest.raises(NotComparable) as raised:
        Fingerprints().component(Made(first=thing))
    assert raised.value.what == "the param first of Made"
    assert "cannot be compared across processes" in raised.value.why


def test_component_in_nested_lists_counts():
    inner = Made(first=1)
    outer = Made(first=[[inner]])
    keys = [digest(Fingerprints().component(outer, {inner.first: x})) for x in (1, 2)]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("where", ["dict", "attribute"])
def test_component_outside_of_params_and_stages_counts(where):
    """A candidate sets its param, and the component that holds it may read it."""
    inner = Made(first=1)
    outer = Made(first={"a": inner} if where == "dict" else 1)
    if where == "attribute":
        outer.inner = inner
    keys = [digest(Fingerprints().component(outer, {inner.first: x})) for x in (1, 2, 2)]
    assert keys[0] != keys[1]
    assert keys[1] == keys[2]


def reads(password="s3cr3t"):
    return password


def reads_keyword(*, api_key="s3cr3t"):
    return api_key


def closes_over(password):
    return lambda: password


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"password": "s3cr3t"},
        lambda: [1, {"a": {"Authorization": "Bearer s3cr3t"}}],
        lambda: "https://me:s3/cr3t@host/x",
        lambda: reads,
        lambda: reads_keyword,
        lambda: closes_over("s3cr3t"),
        lambda: functools.partial(print, password="s3cr3t"),
    ],
)
def test_value_with_secret_raises_not_comparable(make):
    with pytest.raises(NotComparable, match="its value is hidden"):
        Fingerprints().value(make())


def test_params_with_secret_raise_not_comparable():
    class Kept(Made):
        def __init__(self, **given):
            super().__init__(**given)
            self.token = "s3cr3t"

    with pytest.raises(NotComparable, match="the attribute token of Kept"):
        Fingerprints().component(Kept())
    with pytest.raises(NotComparable, match="the param first of Made"):
        Fingerprints(hides=lambda name: name == "first").component(Made(first=1))
    assert Fingerprints(hides=lambda name: name == "first").component(Made(second=1, first=None))


def test_secret_name_without_a_text_has_a_fingerprint():
    assert Fingerprints().value({"key": "a", "maxTokens": 3, "password": None})
    assert Fingerprints().value(closes_over(3))
