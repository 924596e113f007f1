"""Callbacks after the import of a module."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def when_imported(name: str, then: Callable[[ModuleType], None]) -> None:
    """Call ``then`` with a module, now or after its first import.

    The import raises the errors of ``then``.
    """
    module = sys.modules.get(name)
    if module is not None and name not in _finder.loading:
        then(module)
        return
    _finder.waiting.setdefault(name, []).append(then)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


class _Finder:
    """Meta path finder that wraps the loader of another finder."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Callable[[ModuleType], None]]] = {}
        self.loading: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.waiting or name in self.loading:
            return None
        self.loading.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.loading.discard(name)
        if spec is not None and spec.loader is not None:
            self._wrap(name, spec.loader)
        return spec

    def _wrap(self, name: str, loader: Any) -> None:
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            if module.__name__ != name:
                # The loader of an archive also loads other modules.
                load(module)
                return
            self.loading.add(name)
            try:
                load(module)
            finally:
                self.loading.discard(name)
            loader.exec_module = load
            for then in self.waiting.pop(name, ()):
                then(module)

        loader.exec_module = exec_module


_finder = _Finder()
