"""A patch of one attribute that knows how to remove itself and nothing else."""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Callable
from typing import Any

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
        self._wrapper: Any = None
        self._replaced: Any = _MISSING

    def install(self) -> None:
        owner = self._owner()
        if owner is None or (self._wrapper is not None and self._wrapper.trackmllib_active):
            return
        self._replaced = vars(owner).get(self._name, _MISSING)
        self._wrapper = self._wrap(owner, self._replaced)
        setattr(owner, self._name, self._wrapper)

    def uninstall(self) -> None:
        owner = self._owner()
        if owner is None or self._wrapper is None:
            return
        self._wrapper.trackmllib_active = False
        if vars(owner).get(self._name) is not self._wrapper:
            logger.debug(
                "%s of %r has been wrapped by somebody else since; trackmllib's part of it only "
                "passes calls through from now on.",
                self._name,
                owner,
            )
        elif self._replaced is _MISSING:
            delattr(owner, self._name)
        else:
            setattr(owner, self._name, self._replaced)
        self._wrapper = None

    def _wrap(self, owner: Any, replaced: Any) -> Any:
        around = self._around
        name = self._name
        owner_ref = self._owner

        @functools.wraps(getattr(owner, name))
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            original = replaced
            if original is _MISSING:
                original = getattr(super(owner_ref(), type(args[0])), name)
            if not wrapper.trackmllib_active:  # type: ignore[attr-defined]
                return original(*args, **kwargs)
            return around(original, *args, **kwargs)

        wrapper.trackmllib_active = True  # type: ignore[attr-defined]
        # Functions made with functools.wraps copy attributes; only the wrapper is its own.
        wrapper.trackmllib_wrapper = wrapper  # type: ignore[attr-defined]
        wrapper.trackmllib_patch = self  # type: ignore[attr-defined]
        return wrapper


def is_patched(function: Any) -> bool:
    """Whether a function is a wrapper of ours that is in use."""
    is_wrapper = getattr(function, "trackmllib_wrapper", None) is function
    return is_wrapper and bool(getattr(function, "trackmllib_active", False))
