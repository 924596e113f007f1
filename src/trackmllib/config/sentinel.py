"""Sentinels for arguments that are not given.

``import trackmllib`` loads this module, so it imports no other module.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

T = TypeVar("T")


class NotGiven:
    """Default of an argument, shown as ``default`` in signatures."""

    __slots__ = ("default",)

    def __init__(self, default: Any) -> None:
        self.default = default

    def __repr__(self) -> str:
        return repr(self.default)


NOT_GIVEN = NotGiven(None)


def default(value: T) -> T:
    """``NotGiven(value)``, with the type of ``value``."""
    return cast(T, NotGiven(value))
