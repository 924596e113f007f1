"""Callbacks before Python stops its thread pools.

When the main thread has ended, Python first stops the pools of ``concurrent.futures``, then waits
for threads that are not daemons, and then calls the functions of ``atexit``. SDKs of artifact
stores upload from such pools, so the last uploads must come first. The only way to do that is
``threading._register_atexit`` (Python 3.9 and later), which the pools use themselves.
"""

from __future__ import annotations

# Registers the function that stops the pools. Functions run in reverse order of registration.
import concurrent.futures.thread  # noqa: F401
import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

_callbacks: list[Callable[[], None]] = []
_registered = False


def before_pools_stop(callback: Callable[[], None]) -> None:
    """Have the main thread call ``callback`` once at its end, however often it is registered."""
    global _registered
    register = getattr(threading, "_register_atexit", None)
    if register is not None and not _registered:
        try:
            register(_call)
        except RuntimeError:
            # Python is shutting down already.
            return
        _registered = True
    if callback not in _callbacks:
        _callbacks.append(callback)


def unregister(callback: Callable[[], None]) -> None:
    """Remove a callback; an unknown one is ignored."""
    if callback in _callbacks:
        _callbacks.remove(callback)


def _call() -> None:
    for callback in _callbacks:
        try:
            callback()
        except Exception:
            # Python would wait for no thread of the user's any more.
            logger.debug("Not delivered before the end", exc_info=True)
