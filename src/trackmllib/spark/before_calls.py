"""Does something just before the next call that a thread makes into the JVM, and not without one.

A call costs a round trip, and after it a wait for Python's lock. Who makes none starts no job of
Spark's, so what is said about jobs need not be said there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from trackmllib.patching import Patch

_lock = threading.Lock()
_users = 0
_patch: Patch | None = None


class _Here(threading.local):
    """What this thread is to do before its next call."""

    action: Callable[[], None] | None = None


_here = _Here()


def begin() -> None:
    """Calls are looked at from now on, until ``end`` was called as often."""
    global _users, _patch
    from py4j.clientserver import JavaClient

    with _lock:
        _users += 1
        if _patch is None:
            _patch = Patch(JavaClient, "send_command", _around_call)
        _patch.install()


def end() -> None:
    """Once for each ``begin``: calls go straight to the JVM again when nobody is left."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0 and _patch is not None:
            _patch.uninstall()


def put_off(action: Callable[[], None]) -> None:
    """Have this done before the next call of this thread, in place of what was put off before."""
    _here.action = action


def drop() -> None:
    """What was put off in this thread is not to be done any more."""
    _here.action = None


def _around_call(original: Any, client: Any, *args: Any, **kwargs: Any) -> Any:
    """``send_command`` of py4j, which every call goes through, in the thread that makes it."""
    action = _here.action
    if action is not None:
        # First, because it makes calls itself.
        _here.action = None
        action()
    return original(client, *args, **kwargs)
