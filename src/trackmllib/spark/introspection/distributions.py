"""Installed distributions that provide classes, functions and modules."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import platform
import sys
import types
from pathlib import Path
from typing import Any

import pyspark


def library_of(thing: Any) -> str | None:
    """Return the distribution of a class, function or module, with version.

    Returns None for the user's own code: a notebook, a script, a local package, or an editable or
    unversioned installation. The same goes for what its module does not have under its own name.
    """
    if isinstance(thing, types.ModuleType):
        return library_of_module(thing.__name__)
    if isinstance(thing, types.FunctionType):
        # Not __module__, which functools.wraps copies from the wrapped function.
        return library_of_module(str(thing.__globals__.get("__name__", "")))
    module = str(getattr(thing, "__module__", None) or "")
    return library_of_module(module) if _is_defined_in(module, thing) else None


def name_of(thing: Any) -> str:
    """Return the qualified name of a class, function or module."""
    name = getattr(thing, "__qualname__", getattr(thing, "__name__", repr(type(thing))))
    return f"{getattr(thing, '__module__', '')}.{name}"


@functools.cache
def library_of_module(module: str) -> str | None:
    """Return a module's distribution with its version, or None."""
    top = module.partition(".")[0]
    if top == "pyspark":
        return f"pyspark {pyspark.__version__}"
    if top in ("builtins", *sys.stdlib_module_names):
        return (
            f"python {'.'.join(platform.python_version_tuple()[:2])}" if _is_python(top) else None
        )
    # A namespace package, which several distributions may share, has no file.
    file = None if top == "__main__" else _file_of(top) or _file_of(module)
    if file is None or not {"site-packages", "dist-packages"} & set(file.parts):
        return None
    for name in (top, *importlib.metadata.packages_distributions().get(top, ())):
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return None if _is_editable(found) else f"{name} {found.version}"
    return None


def _is_python(top: str) -> bool:
    """Whether a module named like a standard one is not a local file."""
    file = _file_of(top)
    return (
        file is None
        or Path(sys.base_prefix) in file.parents
        or file.parent == Path(str(functools.__file__)).parent
    )


def _is_editable(distribution: importlib.metadata.Distribution) -> bool:
    text = distribution.read_text("direct_url.json")
    return bool(text and json.loads(text).get("dir_info", {}).get("editable"))


def _is_defined_in(module: str, thing: Any) -> bool:
    if module == "builtins":
        # Some built-in classes have no name in this module.
        return True
    found: Any = sys.modules.get(module)
    for name in str(getattr(thing, "__qualname__", getattr(thing, "__name__", ""))).split("."):
        found = getattr(found, name, None)
    return found is thing


def _file_of(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    if module not in sys.modules:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError, AttributeError):
            spec = None
        file = None if spec is None else spec.origin
    return Path(file) if file and Path(file).is_file() else None
