"""Callbacks before Python stops its thread pools.

After the main thread has ended, Python stops the pools of ``concurrent.futures``, waits for
non-daemon threads, and calls the functions of ``atexit``. SDKs of artifact stores upload from such
pools, so the last uploads must come first. Only ``threading._register_atexit``, which the pools
use themselves, allows that.
"""

from __future__ import annotations

# Registers the function that stops the pools first, so that ours runs before it.
import concurrent.futures.thread  # noqa: F401
import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

_callbacks: list[Callable[[], None]] = []
_registered = False


def before_pools_stop(callback: Callable[[], None]) -> None:
    """Register a callback for the end of the main thread. Idempotent."""
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
    """Remove a callback, if it is registered."""
    if callback in _callbacks:
        _callbacks.remove(callback)


def _call() -> None:
    for callback in _callbacks:
        try:
            callback()
        except Exception:
            # An error would keep Python from waiting for the user's threads.
            logger.debug("A callback at exit failed", exc_info=True)
