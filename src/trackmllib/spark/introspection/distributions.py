"""Installed distributions that provide classes, functions and modules."""

from __future__ import annotations

import csv
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyspark


def library_of(thing: Any) -> str | None:
    """Return the distribution of a class, function or module.

    The text has its name, its version and a digest of its files. Returns None for the user's own
    code: a notebook, a script, a local package, and everything that was not installed from an
    index. The same goes for what its module does not have under its own name.
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
    """Return the distribution of a module; None for the user's own code."""
    top = module.partition(".")[0]
    if top == "pyspark":
        # Spark's own distribution contains pyspark without metadata.
        return f"pyspark {pyspark.__version__}"
    if top in ("builtins", *sys.stdlib_module_names):
        return (
            f"python {'.'.join(platform.python_version_tuple()[:2])}" if _is_python(top) else None
        )
    file = None if top == "__main__" else _file_of(module) or _file_of(top)
    # A module in a zip file comes from spark.submit.pyFiles, and is the user's own.
    if file is None or not Path(file).is_file():
        return None
    folder, name = os.path.split(file)
    owners = installed_files().get(_path(os.path.realpath(folder), name), frozenset())
    return None if None in owners else ", ".join(sorted(map(str, owners))) or None


@functools.cache
def installed_files() -> Mapping[str, frozenset[str | None]]:
    """Map each installed file to the distributions that hash it in RECORD.

    A distribution is its name, its version and the digest of its RECORD (PEP 376), or None if it
    was installed from a folder, a file or a repository (``direct_url.json``, PEP 610).
    """
    found: dict[str, frozenset[str | None]] = {}
    for distribution in importlib.metadata.distributions():
        hashes = _hashes(distribution.read_text("RECORD") or "")
        if not hashes:
            continue
        digest = hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()[:32]
        name = f"{distribution.metadata['Name']} {distribution.version} {digest}"
        is_own = distribution.read_text("direct_url.json") is not None
        root = os.path.realpath(str(distribution.locate_file("")))
        for file in hashes:
            path = _path(root, file)
            found[path] = found.get(path, frozenset()) | {None if is_own else name}
    return found


def _hashes(record: str) -> dict[str, str]:
    """Return the hashes of a wheel's files by path.

    Files that an installer adds are left out.
    """
    rows = (row for row in csv.reader(record.splitlines()) if len(row) > 1 and row[1])
    return {
        path: hash_
        for path, hash_, *_ in rows
        if not path.startswith(("../", "/"))
        and not path.endswith(".pyc")
        and not path.partition("/")[0].endswith(".dist-info")
    }


def _is_python(top: str) -> bool:
    """Whether a module named like a standard one is not the user's own file."""
    file = _file_of(top)
    if file is None:
        return True
    return Path(str(functools.__file__)).parent in Path(file).parents and not (
        {"site-packages", "dist-packages"} & set(Path(file).parts)
    )


def _is_defined_in(module: str, thing: Any) -> bool:
    if module == "builtins":
        # Some built-in classes have no name in this module.
        return True
    found: Any = sys.modules.get(module)
    for name in str(getattr(thing, "__qualname__", getattr(thing, "__name__", ""))).split("."):
        found = getattr(found, name, None)
    return found is thing


def _file_of(module: str) -> str | None:
    if module in sys.modules:
        return getattr(sys.modules[module], "__file__", None)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    return spec.origin if spec is not None and spec.has_location else None


def _path(folder: str, name: str) -> str:
    return os.path.normcase(os.path.join(folder, name))
