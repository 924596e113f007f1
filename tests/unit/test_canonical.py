"""Canonical forms are equal exactly where what they are of is."""

from __future__ import annotations

import functools
import importlib
import math
import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.ml.linalg import Vectors
from pyspark.ml.param import Param, Params

from trackmllib.spark.resuming.canonical import Canonical, digest
from trackmllib.spark.resuming.unsound import Unsound

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
def test_of_values(one, other):
    forms = [Canonical().value(each) for each in (one, other)]
    assert (forms[0] == forms[1]) == same(one, other)
    assert (digest(forms[0]) == digest(forms[1])) == same(one, other)


@given(values, values, values, values)
def test_of_components(a, b, c, d):
    """Two of them, set on the component, or by a candidate on top of it."""
    one, other = Made(first=a, second=b), Made(first=c)
    equal = same(a, c) and same(b, d)
    keys = [
        digest(Canonical().component(one)),
        digest(Canonical().component(other, {other.second: d})),
    ]
    assert (keys[0] == keys[1]) == equal


def test_names_that_are_made_from_a_uid():
    first, second = Made(), Made()
    for one in (first, second):
        one._paramMap[one.first] = f"{one.uid}__output"
    assert Canonical().component(first) == Canonical().component(second)
    second._paramMap[second.first] = f"{first.uid}__output"
    assert Canonical().component(first) != Canonical().component(second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.float64(1.0), 1.0),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0])),
        (Vectors.dense([1, 2]), Vectors.dense([1, 2])),
        (Vectors.sparse(3, [1], [2.0]), Vectors.sparse(3, [1], [2.0])),
        ({"a", "b"}, {"b", "a"}),
        (math.nan, math.nan),
        (math.sqrt, math.sqrt),
    ],
)
def test_equal_values(one, other):
    assert Canonical().value(one) == Canonical().value(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 3.0])),
        (np.array([1, 2]), np.array([1.0, 2.0])),
        (Vectors.dense([0, 2]), Vectors.sparse(2, [1], [2.0])),
        (math.sqrt, math.sin),
        ([1, 2], (1, 2)),
        ({1: 2}, {1: 3}),
    ],
)
def test_other_values(one, other):
    assert Canonical().value(one) != Canonical().value(other)


def function(text: str, **names):
    """A function of a module of the user's, compiled from its text."""
    module = types.ModuleType("of_the_user")
    vars(module).update(names)
    exec(compile(text, "of_the_user.py", "exec"), vars(module))
    return vars(module)["f"]


SAME_CODE = [
    ("def f(x):\n    return x + 1", "def f(x):\n    # a comment\n\n    return x + 1"),
    ("def f(x):\n    return g(x)\ndef g(x): return x", "def g(x): return x\ndef f(x): return g(x)"),
    ("def f(x):\n    return x in {'a', 'b'}", "def f(x):\n    return x in {'b', 'a'}"),
]
OTHER_CODE = [
    ("def f(x):\n    return x + 1", "def f(x):\n    return x + 2"),
    ("def f(x):\n    return x + 1", "def f(x):\n    return x - 1"),
    ("def f(x, y=1):\n    return x", "def f(x, y=2):\n    return x"),
    ("def f(x):\n    return g(x)\ndef g(x): return x", "def f(x): return g(x)\ndef g(x): return 2"),
    ("A = 1\ndef f(x):\n    return A", "A = 2\ndef f(x):\n    return A"),
    (
        "class G:\n    def m(self): return 1\ndef f(x): return G()",
        "class G:\n    def m(self): return 2\ndef f(x): return G()",
    ),
    ("f = (lambda n: lambda x: x + n)(1)", "f = (lambda n: lambda x: x + n)(2)"),
]


@pytest.mark.parametrize(("one", "other"), SAME_CODE)
def test_code_that_does_the_same(one, other):
    assert Canonical().value(function(one)) == Canonical().value(function(other))


@pytest.mark.parametrize(("one", "other"), OTHER_CODE)
def test_code_that_was_changed(one, other):
    assert Canonical().value(function(one)) != Canonical().value(function(other))


def test_functions_that_call_each_other():
    text = "def f(x): return g(x)\ndef g(x): return f(x) + {}"
    assert Canonical().value(function(text.format(1))) == Canonical().value(
        function(text.format(1))
    )
    assert Canonical().value(function(text.format(1))) != Canonical().value(
        function(text.format(2))
    )


def test_what_has_been_looked_at_before_changes_nothing():
    f = function("def f(x): return g(x)\ndef g(x): return f(x)")
    canonical = Canonical()
    canonical.value(f.__globals__["g"])
    assert canonical.value(f) == Canonical().value(f)
    assert canonical.value(functools.partial(f, 1)) == Canonical().value(functools.partial(f, 1))


def test_a_list_within_itself():
    endless: list = [1]
    endless.append(endless)
    assert Canonical().value(endless) == ["list", ["int", "1"], ["again", 1]]


@pytest.mark.parametrize("thing", [object(), open, iter([])])
def test_what_cannot_be_compared(thing):
    made = Made(first=thing)
    if thing is open:
        Canonical().component(made)
        return
    with pytest.raises(Unsound) as raised:
        Canonical().component(made)
    assert raised.value.what == "the param first of Made"
    assert "cannot be compared between two processes" in raised.value.why


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Modules of a user's; writes one of them, which is read anew."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_user").mkdir()
    (tmp_path / "of_user" / "__init__.py").write_text("")

    def write(name: str, text: str) -> None:
        (tmp_path / "of_user" / f"{name}.py").write_text(text)
        for loaded in [one for one in sys.modules if one.startswith("of_user")]:
            del sys.modules[loaded]
        importlib.invalidate_caches()

    write("inner", "def h(): return 1")
    write("helper", "from of_user.inner import h\ndef g(): return h()")
    yield write
    write("inner", "")


WAYS = [
    "import of_user.helper\ndef f(): return of_user.helper.g()",
    "from of_user import helper\ndef f(): return helper.g()",
    "from of_user.helper import g\ndef f(): return g()",
    "def f():\n    from of_user.helper import g\n    return g()",
    "def f():\n    import of_user.helper as o\n    return o.g()",
]


@pytest.mark.parametrize("way", WAYS)
def test_code_that_is_imported(package, way):
    before = Canonical().value(function(way))
    assert Canonical().value(function(way)) == before
    package("inner", "def h(): return 2")
    assert Canonical().value(function(way)) != before


def test_a_module_that_is_not_there():
    with pytest.raises(Unsound, match="the file of the module nowhere_to_be_found is not found"):
        Canonical().value(function("def f():\n    import nowhere_to_be_found"))


def test_a_component_deep_in_lists():
    inner = Made(first=1)
    outer = Made(first=[[inner]])
    keys = [digest(Canonical().component(outer, {inner.first: x})) for x in (1, 2)]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("where", ["dict", "attribute"])
def test_a_component_that_is_no_stage(where):
    """A candidate sets a param of it, and who holds it may heed that."""
    inner = Made(first=1)
    outer = Made(first={"a": inner} if where == "dict" else 1)
    if where == "attribute":
        outer.inner = inner
    keys = [digest(Canonical().component(outer, {inner.first: x})) for x in (1, 2, 2)]
    assert keys[0] != keys[1]
    assert keys[1] == keys[2]


def reads(password="s3cr3t"):
    return password


def reads_keyword(*, api_key="s3cr3t"):
    return api_key


API_TOKEN = "s3cr3t"


def reads_global():
    return API_TOKEN


def closes_over(password):
    return lambda: password


class WithSecret(Params):
    password = "s3cr3t"


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"password": "s3cr3t"},
        lambda: [1, {"a": {"Authorization": "Bearer s3cr3t"}}],
        lambda: "https://me:s3/cr3t@host/x",
        lambda: reads,
        lambda: reads_keyword,
        lambda: reads_global,
        lambda: closes_over("s3cr3t"),
        lambda: WithSecret,
        lambda: functools.partial(print, password="s3cr3t"),
    ],
)
def test_value_with_secret_has_no_form(make):
    with pytest.raises(Unsound, match="its value is hidden"):
        Canonical().value(make())


def test_params_with_secret_have_no_form():
    class Kept(Made):
        def __init__(self, **given):
            super().__init__(**given)
            self.token = "s3cr3t"

    with pytest.raises(Unsound, match="the attribute token of Kept"):
        Canonical().component(Kept())
    with pytest.raises(Unsound, match="the param first of Made"):
        Canonical(hides=lambda name: name == "first").component(Made(first=1))
    assert Canonical(hides=lambda name: name == "first").component(Made(second=1, first=None))


def test_names_of_secrets_without_a_text_have_forms():
    assert Canonical().value({"key": "a", "maxTokens": 3, "password": None})
    assert Canonical().value(closes_over(3))
