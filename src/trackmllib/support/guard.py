"""Guards that keep our errors from the user's training."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


class Guard:
    """Context for our own code, never for the user's, that reports errors.

    An ``Exception`` is passed to ``report``. ``KeyboardInterrupt`` and ``SystemExit`` are raised.

    :param doing: What the code does, for ``report``.
    :param strict: Whether to raise all errors.
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
    """Return what ``read`` returns, or ``otherwise`` if it raises."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - calls the user's code, which may raise anything
        return otherwise
