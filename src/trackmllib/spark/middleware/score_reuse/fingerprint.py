"""Fingerprints of what determines a score, equal in every process.

The fingerprint of an estimator or an evaluator covers classes, params (including a candidate's) and
attributes, by value. Uids are replaced, even within column names. Library code is compared by the
name, version and files of its distribution. The user's own code cannot be compared;
``Fingerprints.user_code`` names it, and the user supplies a version of it.

A value that cannot be compared raises ``NotComparable``. So does a secret, because digests are
published, and readers could test guesses of the secret.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import json
import re
import threading
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from pyspark.ml import Model
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.param import Param, Params
from pyspark.sql.types import DataType

from trackmllib.domain.descriptions import Json
from trackmllib.spark.introspection.components import defaults, owns, set_values, uid_of
from trackmllib.spark.introspection.distributions import library_of, name_of
from trackmllib.spark.middleware.score_reuse.errors import NotComparable, hidden
from trackmllib.support.guard import attempt
from trackmllib.support.redaction import Hides, contains_secret, is_secret, looks_secret

# The uids that pyspark generates (``Identifiable._randomUID``).
_GENERATED_UID = re.compile(r"\w+_[0-9a-f]{12,}", re.ASCII)
# Attributes that Params and its wrappers of Java objects set on an instance.
_OWN_ATTRIBUTES = frozenset(
    ("uid", "_paramMap", "_defaultParamMap", "_params", "_input_kwargs", "_java_obj", "_resetUid")
)
_LOCKS = (type(threading.Lock()), type(threading.RLock()))
# Objects of these modules refer to something in Spark, in a file or on a server.
_EXTERNAL_MODULES = ("py4j.", "pyspark.sql.", "pyspark.core.", "pyspark.context", "pyspark.rdd")
Extra = Mapping[Any, Any]


def digest(form: Json) -> str:
    """Hash a fingerprint to 128 bits, as 32 hexadecimal characters."""
    text = json.dumps(form, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Fingerprints:
    """Fingerprints of components; ``user_code`` names the first user code."""

    def __init__(self, hides: Hides = looks_secret) -> None:
        self.user_code: str | None = None
        self._hides = hides
        self._uids: dict[str, str] = {}
        self._extra: Extra = {}
        self._within: list[int] = []

    def component(
        self, component: Params, extra: Extra | None = None, beside: Params | None = None
    ) -> str:
        """Fingerprint a component.

        :param extra: The params of a candidate.
        :param beside: Another component whose uids may occur in column names.
        :raises NotComparable: A part of the component cannot be compared.
        """
        self._uids, self._extra = {}, extra or {}
        if beside is not None:
            self.value(beside)
        form = self.value(component)
        # The user's own code may read params of components outside of this one.
        others = [
            [self.value(param), self.value(value)]
            for param, value in self._extra.items()
            if getattr(param, "parent", None) not in self._uids
        ]
        text = json.dumps([form, sorted(others, key=repr)])
        for uid, place in self._uids.items():
            if _GENERATED_UID.fullmatch(uid):
                text = text.replace(uid, place)
        return digest(text)

    def value(self, value: Any) -> Json:
        """Fingerprint a value.

        :raises NotComparable: The value cannot be compared.
        """
        if value is None or type(value) in (bool, int, complex, type(Ellipsis)):
            return [type(value).__name__, repr(value)]
        if type(value) is bytes:
            return ["bytes", hashlib.sha256(value).hexdigest()]
        if type(value) is float:
            return ["float", value.hex()]
        if isinstance(value, (str, dict)) and contains_secret(value, self._hides):
            raise hidden(f"a {type(value).__name__}")
        if type(value) is str:
            return ["str", value]
        if id(value) in self._within:
            return ["again", len(self._within) - self._within.index(id(value))]
        self._within.append(id(value))
        try:
            return self._compound(value)
        finally:
            self._within.pop()

    def code_of(self, thing: Any) -> Json:
        """Fingerprint a class, a function or a module by its name and version."""
        library = library_of(thing)
        if library is None:
            kind = "class" if isinstance(thing, type) else type(thing).__name__
            self._note_user_code(f"the {kind} {getattr(thing, '__name__', name_of(thing))}")
        return [name_of(thing), library]

    def _note_user_code(self, what: str) -> None:
        self.user_code = self.user_code or what

    def _member(self, what: str, value: Any, secret: bool) -> Json:
        """Fingerprint the value of a param, an attribute or a variable."""
        if secret:
            raise hidden(what)
        try:
            return self.value(value)
        except NotComparable as error:
            raise error.inside(what) from None

    def _compound(self, value: Any) -> Json:
        kind = type(value)
        if isinstance(value, Params):
            # Also in a dict or an attribute: its holder may copy it with the candidate's params.
            return self._component(value)
        if isinstance(value, Param):
            return ["param", value.parent, value.name]
        if kind in (list, tuple):
            return [kind.__name__, *map(self.value, value)]
        if kind in (set, frozenset):
            return [kind.__name__, *sorted(map(self.value, value), key=repr)]
        if kind is dict:
            # Loops over the dict may depend on the insertion order.
            return ["dict", *([self.value(key), self.value(each)] for key, each in value.items())]
        if isinstance(value, _LOCKS):
            return ["lock"]
        if isinstance(value, (type, types.ModuleType)):
            return self.code_of(value)
        return self._callable(value) or self._object(value)

    def _callable(self, value: Any) -> Json:
        """Fingerprint a callable; None for other values."""
        if type(value).__name__ == "UserDefinedFunction":
            # By name, because Spark Connect has its own class.
            kind = [value.returnType.json(), value.evalType, value.deterministic]
            return ["udf", self.value(value.func), kind]
        if isinstance(value, types.FunctionType):
            form = ["function", self.code_of(value)]
            for name, each in _held_values(value):
                what = f"the variable {name} of {value.__qualname__}"
                if is_secret(name, each):
                    raise hidden(what)
                try:
                    form.append([name, self.value(each)])
                except NotComparable:
                    self._note_user_code(what)
            return form
        if isinstance(value, functools._lru_cache_wrapper):
            return ["cached", self.value(value.__wrapped__)]
        if isinstance(value, np.ufunc):
            if getattr(np, value.__name__, None) is not value:
                self._note_user_code(f"the ufunc {value.__name__}")
            return ["ufunc", value.__name__, self.code_of(np)]
        if callable(value) and library_of(value) is not None:
            return ["callable", self.code_of(value)]
        return None

    def _object(self, value: Any) -> Json:
        """Fingerprint an object by its class and what pickle would write."""
        kind = type(value)
        if f"{kind.__module__}.".startswith(_EXTERNAL_MODULES) and not isinstance(value, DataType):
            raise NotComparable("", f"a {kind.__name__} refers to something outside this process")
        form = self.code_of(kind)
        reduce = copyreg.dispatch_table.get(kind) or (lambda value: value.__reduce_ex__(4))
        reduced = attempt(lambda: reduce(value), None)
        if isinstance(reduced, str):
            return ["global", form, reduced]
        if not isinstance(reduced, tuple):
            raise NotComparable("", f"a {name_of(kind)} cannot be compared across processes")
        make, args, *state = reduced
        rest = [list(each) if hasattr(each, "__next__") else each for each in state]
        return ["object", form, self.code_of(make), self.value(args), *map(self.value, rest)]

    def _component(self, component: Params) -> Json:
        kind, uid = type(component), uid_of(component)
        if uid is not None:
            # A number replaces the uid, in names too.
            self._uids.setdefault(uid, f"\0{len(self._uids)}\0")
        java: Any = getattr(component, "_java_obj", None)
        java_class = attempt(lambda: str(java.getClass().getName()), "org.apache.spark.")
        if java is not None and not java_class.startswith("org.apache.spark."):
            self._note_user_code(f"the Java class {java_class}")
        if kind is SQLTransformer:
            self._note_user_code("a SQLTransformer (its statement may read any table)")
        if java is not None and isinstance(component, Model):
            raise NotComparable(kind.__name__, "its params do not say what the model was fitted on")
        form: list[Json] = [self.code_of(kind)]
        for name, (value, is_set, convert) in _effective_params(component, self._extra).items():
            secret = value is not None and (
                self._hides(name) or contains_secret(value, self._hides)
            )
            found = self._member(f"the param {name} of {kind.__name__}", value, secret)
            # Whether a param is set may matter, except for a seed.
            form.append([name, is_set and name != "seed", found, self.value(convert)])
        for name, value in vars(component).items():
            if name not in _OWN_ATTRIBUTES and not isinstance(value, Param):
                what = f"the attribute {name} of {kind.__name__}"
                form.append(["." + name, self._member(what, value, is_secret(name, value))])
        return form


def _effective_params(component: Params, extra: Extra) -> dict[str, tuple[Any, bool, Any]]:
    """Return all params of ``copy(extra)``, by name.

    Each is a tuple: the value, whether it is set, and the type converter.
    """
    found: dict[str, tuple[Any, bool, Any]] = {}
    of_candidate = {param: value for param, value in extra.items() if owns(component, param)}
    for values in (defaults(component), set_values(component), of_candidate):
        is_set = values is not defaults(component)
        found |= {
            param.name: (value, is_set, param.typeConverter) for param, value in values.items()
        }
    return dict(sorted(found.items()))


def _held_values(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the named defaults and closure variables of a function."""
    defaults = function.__defaults__ or ()
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    yield from zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
    variables = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, variable in variables:
        with suppress(ValueError):
            # The variable has no value yet.
            yield name, variable.cell_contents
