"""Patches of tuner subclasses that override ``fit``.

``__init_subclass__`` patches the subclasses that are defined later.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from trackmllib.support.patching import Patch, is_patched

logger = logging.getLogger(__name__)


class SubclassPatches:
    """Patches of a method in all subclasses of ``roots``."""

    def __init__(self, roots: tuple[type[Any], ...], name: str, around: Callable[..., Any]) -> None:
        self._roots = roots
        self._name = name
        self._around = around
        # The wrapper on the class holds its patch, so that the class can be garbage-collected.
        self._patches: weakref.WeakSet[Patch] = weakref.WeakSet()
        self._hooks: dict[type[Any], Any] = {}

    def install(self) -> None:
        for patch in self._patches:
            patch.install()
        for root in self._roots:
            for subclass in _subclasses_of(root):
                self._patch(subclass)
            if "__init_subclass__" not in vars(root):
                self._hooks[root] = self._hook(root)
                root.__init_subclass__ = self._hooks[root]

    def uninstall(self) -> None:
        for root, hook in self._hooks.items():
            if vars(root).get("__init_subclass__") is hook:
                del root.__init_subclass__
        self._hooks.clear()
        for patch in self._patches:
            patch.uninstall()

    def _hook(self, root: type[Any]) -> Any:
        def __init_subclass__(cls: type[Any], /, **kwargs: Any) -> None:
            super(root, cls).__init_subclass__(**kwargs)
            if root in self._hooks:
                self._patch(cls)

        return classmethod(__init_subclass__)

    def _patch(self, subclass: type[Any]) -> None:
        try:
            if is_patched(getattr(subclass, self._name)):
                return
            patch = Patch(subclass, self._name, self._around)
            patch.install()
            self._patches.add(patch)
        except Exception:
            logger.debug("%r is recorded from its model only.", subclass, exc_info=True)


def _subclasses_of(root: type[Any]) -> Iterator[type[Any]]:
    for subclass in root.__subclasses__():
        yield subclass
        yield from _subclasses_of(subclass)
