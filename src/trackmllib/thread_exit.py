"""A last call before Python shuts its thread pools down.

When the main thread has ended, Python first stops the pools of ``concurrent.futures``, then waits
for threads that are no daemons, and only then calls what ``atexit`` knows. SDKs of artifact stores
upload from such pools, so whoever still wants to upload must do it before. Python offers that only
as ``threading._register_atexit`` (3.9 and later), which the pools use themselves.
"""

from __future__ import annotations

# Registers what stops the pools; the last one that is registered is called first.
import concurrent.futures.thread  # noqa: F401
import threading
from collections.abc import Callable

_callbacks: list[Callable[[], None]] = []
_registered = False


def before_pools_stop(callback: Callable[[], None]) -> None:
    """Have ``callback`` called when the main thread has ended, by that thread; twice is once."""
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
    """Do not call it."""
    if callback in _callbacks:
        _callbacks.remove(callback)


def _call() -> None:
    for callback in _callbacks:
        callback()
