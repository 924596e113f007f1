"""What decides the score of a cell, as plain data that is equal in every process.

An estimator or an evaluator with all its params, those of a candidate on top; uids taken out, also
out of column names that are made from one. Where two differ in anything that could make another
score, their canonical forms differ; what has no such form is ``Unsound``. So is a value with a
secret, because digests of forms are published, and readers of one could test guesses of the secret.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from pyspark.ml import Model, PipelineModel
from pyspark.ml.linalg import DenseMatrix, DenseVector, SparseMatrix, SparseVector
from pyspark.ml.param import Param, Params

from trackmllib.events import Json
from trackmllib.redaction import Hides, holds_secret, is_secret, looks_secret
from trackmllib.spark.components import defaults, owns, set_values, uid_of
from trackmllib.spark.resuming.code import Code
from trackmllib.spark.resuming.unsound import Unsound, hidden

# As pyspark makes them (``Identifiable._randomUID``).
_MADE_UID = re.compile(r"\w+_[0-9a-f]{12,}", re.ASCII)
# What Params and its wrappers of Java objects keep on an instance.
_OWN_ATTRIBUTES = frozenset(
    ("uid", "_paramMap", "_defaultParamMap", "_params", "_input_kwargs", "_java_obj", "_resetUid")
)
_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event)
Extra = Mapping[Any, Any]


def digest(form: Json) -> str:
    """128 bits of a canonical form, as 32 characters."""
    text = json.dumps(form, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Canonical:
    """Canonical forms; ``code`` knows the code of classes and functions that no library brings."""

    def __init__(self, code: Code | None = None, hides: Hides = looks_secret) -> None:
        self._hides = hides
        self._code = code or Code(self.value)
        self._roles: dict[str, str] = {}
        self._extra: Extra = {}
        self._seen: set[str] = set()
        self._within: list[int] = []

    def component(self, component: Params, extra: Extra | None = None) -> Json:
        """The form of an estimator, an evaluator or a transformer, with the params of a candidate.

        Unsound where it has none.
        """
        self._roles = {}
        extra = self._extra = extra or {}
        self._name(component, extra, "")
        self._seen = set()
        form = self._component(component, extra)
        # Params of nobody in here: Spark leaves them alone, or says what is wrong with them.
        others = [
            [self.value(param), self.value(value)]
            for param, value in extra.items()
            if getattr(param, "parent", None) not in self._seen
        ]
        return [form, sorted(others, key=repr)]

    def value(self, value: Any) -> Json:
        """The form of a value. Unsound where it has none."""
        form = self._plain(value)
        if form is not None:
            return form
        if isinstance(value, dict) and holds_secret(value, self._hides):
            raise hidden("a dict")
        if id(value) in self._within:
            return ["again", len(self._within) - self._within.index(id(value))]
        self._within.append(id(value))
        try:
            return self._made(value)
        finally:
            self._within.pop()

    def _plain(self, value: Any) -> Json:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None:
            return ["none"]
        if type(value) is str:
            if holds_secret(value):
                raise hidden("a text")
            return ["str", self._without_uids(value)]
        if type(value) in (bool, int):
            return [type(value).__name__, str(value)]
        if type(value) is float:
            return ["float", value.hex()]
        if type(value) in (bytes, bytearray, complex, decimal.Decimal, range, type(Ellipsis)) or (
            isinstance(value, (datetime.date, datetime.time, datetime.timedelta))
        ):
            return [type(value).__name__, repr(value)]
        return None

    def _made(self, value: Any) -> Json:
        kind = type(value).__name__
        if isinstance(value, Params):
            # Also of one that lies in a dict, or in an attribute: who holds it may copy it so.
            return self._component(value, self._extra)
        if isinstance(value, Param):
            return ["param", self._roles.get(value.parent, value.parent), value.name]
        if isinstance(value, enum.Enum):
            return ["enum", self._code.of(type(value)), value.name]
        if type(value) in (list, tuple):
            return [kind, *map(self.value, value)]
        if type(value) in (set, frozenset):
            return [kind, *sorted(map(self.value, value), key=repr)]
        if type(value) is dict:
            items = [[self.value(key), self.value(each)] for key, each in value.items()]
            # In their order: who goes over a dict of params may depend on it.
            return [kind, *items]
        if type(value) is np.ndarray and value.dtype.kind in "biufcSU":
            return [kind, str(value.dtype), list(value.shape), _of_bytes(value)]
        if isinstance(value, SparseVector):
            return [kind, int(value.size), _of_bytes(value.indices), _of_bytes(value.values)]
        if isinstance(value, DenseVector):
            return [kind, int(value.size), _of_bytes(value.toArray())]
        if isinstance(value, _LOCKS):
            return ["lock"]
        if isinstance(value, (DenseMatrix, SparseMatrix)):
            return [kind, value.numRows, value.numCols, _of_bytes(value.toArray())]
        return self._code.of(value)

    def _component(self, component: Params, extra: Extra) -> Json:
        _check(component)
        uid = uid_of(component)
        if uid is not None:
            self._seen.add(uid)
        form: dict[str, Json] = {"class": self._code.of(type(component))}
        params: dict[str, Json] = {}
        for param, (value, is_set) in _effective(component, extra).items():
            if value is not None and (self._hides(param) or holds_secret(value, self._hides)):
                raise hidden(f"the param {param} of {type(component).__name__}")
            try:
                form_of_value = self._value_of_param(value, extra)
            except Unsound as unsound:
                raise unsound.within(f"the param {param} of {type(component).__name__}") from None
            # Of a seed it is all the same who has set it.
            how = "set" if is_set and param != "seed" else "default"
            params[param] = [how, form_of_value]
        form["params"] = params
        if isinstance(component, PipelineModel):
            form["stages"] = [self._component(stage, extra) for stage in component.stages]
        elif not type(component).__module__.startswith("pyspark."):
            form["attributes"] = self._attributes(component)
        return form

    def _value_of_param(self, value: Any, extra: Extra) -> Json:
        if isinstance(value, Params):
            return self._component(value, extra)
        if isinstance(value, (list, tuple)) and _holds_components(value):
            return [type(value).__name__, *(self._value_of_param(each, extra) for each in value)]
        return self.value(value)

    def _attributes(self, component: Params) -> Json:
        """What the author of a class keeps on its instances."""
        found: dict[str, Json] = {}
        for name, value in vars(component).items():
            if name in _OWN_ATTRIBUTES or isinstance(value, Param):
                continue
            if is_secret(name, value):
                raise hidden(f"the attribute {name} of {type(component).__name__}")
            try:
                found[name] = self.value(value)
            except Unsound as unsound:
                what = f"the attribute {name} of {type(component).__name__}"
                raise unsound.within(what) from None
        return found

    def _name(self, value: Any, extra: Extra, role: str) -> None:
        """Give each component a name by its place, in place of its uid."""
        if isinstance(value, Params):
            uid = uid_of(value)
            if uid is not None:
                self._roles.setdefault(uid, f"{role}{type(value).__name__}")
            for param, (inner, _) in sorted(_effective(value, extra).items()):
                self._name(inner, extra, f"{role}{param}.")
        elif isinstance(value, (list, tuple)):
            for place, inner in enumerate(value):
                if isinstance(inner, (Params, list, tuple)):
                    self._name(inner, extra, f"{role}{place}.")

    def _without_uids(self, text: str) -> str:
        if not self._roles or not _MADE_UID.search(text):
            return text
        return _MADE_UID.sub(self._role, text)

    def _role(self, found: re.Match[str]) -> str:
        # A column's name goes on behind the uid: ``IDF_4af1b2c3d4e5__output``.
        text = found[0]
        for uid, role in self._roles.items():
            if text.startswith(uid) and _MADE_UID.fullmatch(uid):
                return f"\0{role}\0{text[len(uid) :]}"
        return text


def _effective(component: Params, extra: Extra) -> dict[str, tuple[Any, bool]]:
    """The values of all params by name, as ``copy(extra)`` would have them, and whether each of
    them is set: Spark asks for that here and there.
    """
    values = {param.name: (value, False) for param, value in defaults(component).items()}
    values.update((param.name, (value, True)) for param, value in set_values(component).items())
    for param, value in extra.items():
        if owns(component, param):
            values[param.name] = (value, True)
    return values


def _holds_components(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_holds_components, value))
    return isinstance(value, Params)


def _check(component: Params) -> None:
    """Unsound where the params of a component do not say all that it does."""
    name = type(component).__name__
    if type(component).__module__ == "pyspark.ml.feature" and name == "SQLTransformer":
        raise Unsound("SQLTransformer", "its statement may read anything")
    is_of_spark = type(component).__module__.startswith("pyspark.") or (
        getattr(component, "_java_obj", None) is not None
    )
    if isinstance(component, Model) and is_of_spark and not isinstance(component, PipelineModel):
        raise Unsound(name, "what a model was fitted on is not in its params")


def _of_bytes(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:32]
