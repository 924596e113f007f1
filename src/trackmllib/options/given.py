"""Tells an argument that was given from one that was not.

Imported with ``trackmllib`` itself, so it imports next to nothing.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

T = TypeVar("T")


class NotGiven:
    """Stands in a signature for an argument that nobody has given, and looks like its default."""

    __slots__ = ("default",)

    def __init__(self, default: Any) -> None:
        self.default = default

    def __repr__(self) -> str:
        return repr(self.default)


def default(value: T) -> T:
    """The default of an argument in a signature: shows ``value`` there, and says "not given"."""
    return cast(T, NotGiven(value))
