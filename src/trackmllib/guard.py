"""Keeps our own errors away from the user's training."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


class Guard:
    """A context for our own code only, never around a call of the user's.

    An ``Exception`` raised inside goes to ``report`` with what was being done, and no further;
    ``KeyboardInterrupt`` and ``SystemExit`` pass. With ``strict`` every exception passes.
    """

    __slots__ = ("_doing", "_report", "_strict")

    def __init__(
        self, doing: str, report: Callable[[str, Exception], None], *, strict: bool = False
    ) -> None:
        self._doing = doing
        self._report = report
        self._strict = strict

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception) or self._strict:
            return False
        self._report(self._doing, error)
        return True


def attempt(read: Callable[[], T], otherwise: T) -> T:
    """What ``read`` returns, or ``otherwise`` where it raises: for facts that are nice to have."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - reads code of the user's, which may raise anything
        return otherwise
