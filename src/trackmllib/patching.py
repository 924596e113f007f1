"""A patch of one attribute that knows how to remove itself and nothing else."""

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
    """Replaces the function ``name`` of a class or module by a wrapper of it.

    ``around(original, *args, **kwargs)`` is what the wrapper runs; ``original`` is what would have
    been called without the patch. A function that a class inherits is looked up anew at every call,
    so that a patch which somebody else puts on the base class is still seen.

    Installing twice is installing once. Uninstalling puts back exactly what was there; where
    somebody has wrapped our wrapper in between, theirs stays, and ours becomes a pass-through.
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
                "%s of %r has been wrapped by somebody else since; trackmllib's part of it only "
                "passes calls through from now on.",
                self._name,
                owner,
            )
        elif wrapper.replaced is _MISSING:
            delattr(owner, self._name)
        else:
            setattr(owner, self._name, wrapper.replaced)


class Installable(Protocol):
    """A patch of any kind."""

    def install(self) -> None: ...

    def uninstall(self) -> None: ...


class SharedPatches:
    """Patches that are installed while at least one thread is inside of the context."""

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
    """What stands in the place of a function while the patch is installed.

    An object and not a function, so that a class of the user's which holds it can be pickled by
    value: it pickles as the function it replaced. It holds its patch, as long as the class lives.
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
        # Nothing but the standard library, so that a worker need not have trackmllib.
        return operator.itemgetter(0), ((self._original(),),)

    def _original(self, of_class: Any = None) -> Any:
        """What is called without the patch; what is inherited depends on the class of ``self``."""
        if self.replaced is not _MISSING:
            return self.replaced
        owner = self._owner()
        return getattr(super(owner, of_class or owner), self._name)


def is_patched(function: Any) -> bool:
    """Whether a function is a wrapper of ours that is in use."""
    return isinstance(function, _Wrapper) and function.active
