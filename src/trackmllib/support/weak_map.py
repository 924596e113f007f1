"""Map from objects, by identity, that keeps none of them alive."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class WeakIdentityMap(Generic[V]):
    """Map from objects, which need be neither hashable nor comparable.

    An entry disappears with its object. Objects that allow no weak references are not added.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], V]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, thing: Any, value: V) -> None:
        """Add or replace the entry of an object."""
        key = id(thing)

        def remove(reference: weakref.ref[Any]) -> None:
            # A new object may have this id.
            if self._entries.get(key, (None,))[0] is reference:
                del self._entries[key]

        with suppress(TypeError):
            self._entries[key] = (weakref.ref(thing, remove), value)

    def get(self, thing: Any) -> V | None:
        """The value of an object, or None."""
        reference, value = self._entries.get(id(thing), (None, None))
        return value if reference is not None and reference() is thing else None

    def clear(self) -> None:
        self._entries.clear()
