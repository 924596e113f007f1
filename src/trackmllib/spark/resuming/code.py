"""The code of classes and functions, as plain data that is equal as long as it does the same.

What an installed library brings is known by its version. Everything else by what Python has
compiled of it, and by all that this refers to: the functions and classes it names, the values of
its module, its defaults and what it closes over. Comments and line numbers are no part of that. The
files of modules of the user's that it imports count as a whole.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import importlib.metadata
import importlib.util
import logging
import platform
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyspark
from pyspark.ml.param import Param

from trackmllib.events import Json
from trackmllib.redaction import is_secret
from trackmllib.spark.resuming.unsound import Unsound, hidden

# What every class has, or what changes with the version of Python, or with the lines of a file.
_NO_CODE = frozenset(
    f"__{name}__"
    for name in [
        "module",
        "dict",
        "weakref",
        "doc",
        "qualname",
        "annotations",
        "parameters",
        "orig_bases",
        "abstractmethods",
        "firstlineno",
        "static_attributes",
        "slotnames",
        "annotate",
        "annotate_func",
        "annotations_cache",
        "hash",
        "dataclass_fields",
        "dataclass_params",
    ]
) | {"_abc_impl"}
_DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType)


class Code:
    """Forms of code. ``value`` gives the form of any other value, or raises Unsound."""

    def __init__(self, value: Callable[[Any], Json]) -> None:
        self._value = value
        # With the thing, whose id is another's once it is gone.
        self._known: dict[int, tuple[Any, Json]] = {}
        self._known_here: dict[int, tuple[Any, Json]] = {}
        self._doing: list[int] = []
        self._furthest = 0

    def of(self, thing: Any) -> Json:
        """The form of a class, a function, a method, a partial or a module. Unsound for others."""
        place = len(self._doing)
        if place == 0:
            # What a thing inside of others looks like is no matter of what was looked at before.
            self._known_here = {}
        known = self._known if place == 0 else self._known_here
        if id(thing) in known:
            return known[id(thing)][1]
        if id(thing) in self._doing:
            at = self._doing.index(id(thing))
            self._furthest = min(self._furthest, at)
            return ["itself", place - at]
        self._doing.append(id(thing))
        before, self._furthest = self._furthest, place
        try:
            form = self._of(thing)
        finally:
            self._doing.pop()
            refers_out, self._furthest = self._furthest < place, min(before, self._furthest)
        if not refers_out:
            known[id(thing)] = thing, form
        return form

    def _of(self, thing: Any) -> Json:
        if isinstance(thing, type):
            return _of_library(thing) or ["class", _name(thing), *self._of_class(thing)]
        if isinstance(thing, types.FunctionType):
            return self._of_function(thing)
        if isinstance(thing, types.MethodType):
            return ["method", self._value(thing.__self__), self.of(thing.__func__)]
        if isinstance(thing, (staticmethod, classmethod)):
            return [type(thing).__name__, self.of(thing.__func__)]
        if isinstance(thing, property):
            parts = (thing.fget, thing.fset, thing.fdel)
            return ["property", *(None if part is None else self.of(part) for part in parts)]
        if isinstance(thing, functools.partial):
            return ["partial", *map(self._value, (thing.func, thing.args, thing.keywords))]
        if isinstance(thing, types.ModuleType):
            return self._of_module(thing)
        if isinstance(thing, (types.BuiltinFunctionType, np.ufunc)):
            return _of_library(thing) or ["builtin", str(thing)]
        if type(thing).__module__ == "typing":
            return ["typing", repr(thing)]
        raise Unsound("", f"a {_name(type(thing))} cannot be compared between two processes")

    def _of_class(self, cls: type) -> Iterator[Json]:
        yield [self.of(base) for base in cls.__bases__]
        for name, attribute in sorted(vars(cls).items()):
            if name in _NO_CODE or isinstance(attribute, (Param, *_DESCRIPTORS)):
                continue
            if is_secret(name, attribute):
                raise hidden(f"{name} of the class {cls.__name__}")
            try:
                yield [name, self._value(attribute)]
            except Unsound as unsound:
                raise unsound.within(f"{name} of the class {cls.__name__}") from None

    def _of_function(self, function: types.FunctionType) -> Json:
        library = _of_library(function)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            if _has_contents(cell) and is_secret(name, cell.cell_contents):
                raise hidden(f"the variable {name}")
        for name, default in _defaults(function):
            if is_secret(name, default):
                raise hidden(f"the default of {name} in {function.__qualname__}")
        closed = [cell.cell_contents for cell in function.__closure__ or () if _has_contents(cell)]
        if library is not None:
            # A decorator of a library around a function of the user's.
            theirs = [each for each in closed if isinstance(each, types.FunctionType)]
            return ["function", library, *map(self.of, theirs)]
        try:
            return [
                "function",
                platform.python_version_tuple()[1],
                _of_code(function.__code__),
                self._value(function.__defaults__),
                self._value(function.__kwdefaults__),
                self._value(closed),
                [
                    [name, self._of_global(name, function.__globals__[name])]
                    for name in sorted(set(_names(function.__code__)))
                    if name in function.__globals__
                ],
                self._of_modules(_imported(function)),
            ]
        except Unsound as unsound:
            raise unsound.within(f"the function {function.__qualname__}") from None

    def _of_global(self, name: str, value: Any) -> Json:
        if is_secret(name, value):
            raise hidden(f"the variable {name}")
        if isinstance(value, logging.Logger):
            # No score is made of it, and it is another one in each process.
            return ["logger"]
        if type(value).__name__ in ("SparkSession", "SparkContext"):
            raise Unsound("", "through a Spark session of its own it may read any data")
        return self._value(value)

    def _of_module(self, module: types.ModuleType) -> Json:
        library = _of_library(module)
        if library is not None:
            return library
        inner = [name for name in sys.modules if name.startswith(f"{module.__name__}.")]
        return self._of_modules([module.__name__, *inner])

    def _of_modules(self, names: Iterable[str]) -> Json:
        """The files of modules of the user's, and of those that these import; libraries by their
        versions.
        """
        found: dict[str, Json] = {}
        left = sorted(names)
        while left:
            name = left.pop()
            if name in found:
                continue
            version = version_of(name)
            if version is not None:
                found[name] = version
                continue
            file = _file_of(name)
            if file is None:
                raise Unsound("", f"the file of the module {name} is not found")
            text = file.read_bytes()
            found[name] = hashlib.sha256(text).hexdigest()[:32]
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            left += _imports_of(text, package)
        return [[name, found[name]] for name in sorted(found)]


def _defaults(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The arguments of a function that have defaults, with these."""
    defaults = function.__defaults__ or ()
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    yield from zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


def _of_library(thing: Any) -> Json:
    """Name and version, if a library brings it; else None."""
    module = thing.__name__ if isinstance(thing, types.ModuleType) else thing.__module__
    version = version_of(str(module))
    return None if version is None else ["library", version, _name(thing)]


@functools.cache
def version_of(module: str) -> str | None:
    """The library that brings a module, with its version; None for a module of the user's."""
    top = module.partition(".")[0]
    if top == "pyspark":
        return f"pyspark {pyspark.__version__}"
    if top == "builtins" or top in sys.stdlib_module_names:
        return f"python {'.'.join(platform.python_version_tuple()[:2])}"
    # A namespace of several libraries has no file of its own.
    file = None if top == "__main__" else _file_of(top) or _file_of(module)
    if file is None or not _is_installed(file):
        return None
    for name in (top, *importlib.metadata.packages_distributions().get(top, ())):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _is_installed(file: Path) -> bool:
    paths = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    parts = set(file.parts)
    return bool(parts & {"site-packages", "dist-packages"}) or any(
        path in file.parents for path in paths
    )


def _of_code(code: types.CodeType) -> Json:
    names: list[Json] = [*code.co_names, "|", *code.co_varnames, "|", *code.co_freevars]
    constants = list(map(_constant, code.co_consts))
    handlers = getattr(code, "co_exceptiontable", b"")
    compiled = hashlib.sha256(code.co_code + handlers).hexdigest()[:32]
    return [code.co_name, code.co_flags, code.co_argcount, compiled, names, constants]


def _constant(value: Any) -> Json:
    if isinstance(value, types.CodeType):
        return _of_code(value)
    if isinstance(value, tuple):
        return ["tuple", *map(_constant, value)]
    if isinstance(value, frozenset):
        # Its order is another one in each process.
        return ["frozenset", *sorted(map(repr, value))]
    return [type(value).__name__, repr(value)]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _names(each)


def _imported(function: types.FunctionType) -> Iterator[str]:
    """The modules that the code of a function imports when it runs."""
    package = str(function.__globals__.get("__package__") or "")
    left = [function.__code__]
    while left:
        code = left.pop()
        left += [each for each in code.co_consts if isinstance(each, types.CodeType)]
        # Before an import stand its level and its names.
        constants: list[Any] = []
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
                constants = [*constants[-1:], instruction.argval]
            elif instruction.opname == "IMPORT_NAME":
                level = constants[0] if len(constants) == 2 else 0
                names = constants[-1] if constants else None
                yield from _modules_named(
                    instruction.argval, names or (), level if isinstance(level, int) else 0, package
                )


def _imports_of(text: bytes, package: str) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules_named(alias.name, (), 0, package)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            yield from _modules_named(node.module or "", names, node.level, package)


def _modules_named(name: str, names: Iterable[str], level: int, package: str) -> Iterator[str]:
    """The modules of ``from name import names``: itself, those around it, and what of the names are
    modules.
    """
    if level:
        base = package.split(".")[: len(package.split(".")) - level + 1]
        name = ".".join(filter(None, (*base, name)))
    parts = name.split(".")
    if version_of(parts[0]) is not None:
        yield parts[0]
        return
    yield from (".".join(parts[: at + 1]) for at in range(len(parts)))
    yield from (f"{name}.{each}" for each in names if _file_of(f"{name}.{each}") is not None)


def _file_of(module: str) -> Path | None:
    """The file of a module of the user's, loaded or not."""
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if loaded is None:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError, AttributeError):
            spec = None
        file = None if spec is None else spec.origin
    return Path(file) if file and Path(file).is_file() else None


def _has_contents(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - it raises where there is nothing yet
    except ValueError:
        return False
    return True


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", "")
    return f"{module}.{getattr(thing, '__qualname__', getattr(thing, '__name__', thing))}"
