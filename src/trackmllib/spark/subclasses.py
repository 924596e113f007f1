"""Finds the subclasses of the tuners that bring a ``fit`` of their own, and patches it there.

Those that exist when recording is switched on are found by walking down from the tuner classes;
those that are written later announce themselves through ``__init_subclass__``.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from trackmllib.patching import Patch, is_patched

logger = logging.getLogger(__name__)


class SubclassPatches:
    """The patches of a method in all subclasses of ``roots``, installed and removed together."""

    def __init__(self, roots: tuple[type[Any], ...], name: str, around: Callable[..., Any]) -> None:
        self._roots = roots
        self._name = name
        self._around = around
        # Held by the wrapper on the class itself, so that a class can still be collected.
        self._patches: weakref.WeakSet[Patch] = weakref.WeakSet()
        self._hooks: dict[type[Any], Any] = {}

    def install(self) -> None:
        for patch in self._patches:
            patch.install()
        for root in self._roots:
            for subclass in _below(root):
                self._adopt(subclass)
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
                self._adopt(cls)

        return classmethod(__init_subclass__)

    def _adopt(self, subclass: type[Any]) -> None:
        try:
            if is_patched(getattr(subclass, self._name)):
                return
            patch = Patch(subclass, self._name, self._around)
            patch.install()
            self._patches.add(patch)
        except Exception:
            logger.debug("%r is recorded from the model it returns only.", subclass, exc_info=True)


def _below(root: type[Any]) -> Iterator[type[Any]]:
    for subclass in root.__subclasses__():
        yield subclass
        yield from _below(subclass)
