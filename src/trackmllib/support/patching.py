"""Removable patches of functions."""

from __future__ import annotations

import functools
import logging
import operator
import threading
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

logger = logging.getLogger(__name__)

_MISSING: Any = object()


class Patch:
    """Patch that replaces a function of a class or module by a wrapper.

    An inherited function is looked up at every call, so that a later patch of the base class has an
    effect. Installing is idempotent. Uninstalling restores the function; if another tool has
    wrapped our wrapper meanwhile, both stay, and ours only passes calls through.

    :param owner: The class or module.
    :param name: The name of the function.
    :param around: Called as ``around(original, *args, **kwargs)``.
    """

    def __init__(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        self._owner = weakref.ref(owner)
        self._name = name
        self._around = around
        self._wrapper: _Wrapper | None = None

    def install(self) -> None:
        owner = self._owner()
        if owner is None or (self._wrapper is not None and self._wrapper.active):
            return
        self._wrapper = _Wrapper(self, owner, self._name, self._around)
        setattr(owner, self._name, self._wrapper)

    def uninstall(self) -> None:
        owner, wrapper = self._owner(), self._wrapper
        if owner is None or wrapper is None:
            return
        wrapper.active = False
        self._wrapper = None
        if vars(owner).get(self._name) is not wrapper:
            logger.debug(
                "Another tool has wrapped %s of %r, so trackmllib's wrapper stays there, and only "
                "passes calls through.",
                self._name,
                owner,
            )
        elif wrapper.replaced is _MISSING:
            delattr(owner, self._name)
        else:
            setattr(owner, self._name, wrapper.replaced)


class Installable(Protocol):
    """Patch that can be installed and uninstalled."""

    def install(self) -> None: ...

    def uninstall(self) -> None: ...


class SharedPatches:
    """Context that installs patches while any thread is in it."""

    def __init__(self, patches: Iterable[Installable]) -> None:
        self._patches = tuple(patches)
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            for patch in self._patches:
                patch.install()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for patch in self._patches:
                    patch.uninstall()


class _Wrapper:
    """Wrapper that replaces a function while a patch is installed.

    It pickles as the replaced function, so that a user's class with it can be pickled by value. It
    keeps its patch alive as long as the class.
    """

    def __init__(self, patch: Patch, owner: Any, name: str, around: Callable[..., Any]) -> None:
        functools.update_wrapper(self, getattr(owner, name))
        self.active = True
        self.replaced = vars(owner).get(name, _MISSING)
        self._patch = patch
        self._owner = weakref.ref(owner)
        self._name = name
        self._around = around

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        original = self._original(type(args[0])) if args else self._original()
        if not self.active:
            return original(*args, **kwargs)
        return self._around(original, *args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker may not have trackmllib, so use the standard library only.
        return operator.itemgetter(0), ((self._original(),),)

    def _original(self, of_class: Any = None) -> Any:
        """Function without the patch, even if inherited."""
        if self.replaced is not _MISSING:
            return self.replaced
        owner = self._owner()
        return getattr(super(owner, of_class or owner), self._name)


def is_patched(function: Any) -> bool:
    """Whether a function has an installed patch of ours."""
    return isinstance(function, _Wrapper) and function.active
