"""Hook that runs an action just before a thread's next call into the JVM.

Labelling jobs takes calls into the JVM, each a round trip. With the hook, a fit that makes no calls
itself, and so starts no job, needs none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from trackmllib.support.patching import Patch

_lock = threading.Lock()
_users = 0
_patch: Patch | None = None


class _Pending(threading.local):
    """The action of this thread before its next call."""

    action: Callable[[], None] | None = None


_pending = _Pending()


def begin() -> None:
    """Install the hook, until ``end`` has been called as often as ``begin``."""
    global _users, _patch
    from py4j.clientserver import JavaClient

    with _lock:
        _users += 1
        if _patch is None:
            _patch = Patch(JavaClient, "send_command", _around_call)
        _patch.install()


def end() -> None:
    """Undo one ``begin``."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0 and _patch is not None:
            _patch.uninstall()


def schedule(action: Callable[[], None]) -> None:
    """Run an action, instead of the pending one, before the next call."""
    _pending.action = action


def cancel() -> None:
    """Cancel the pending action of this thread."""
    _pending.action = None


def _around_call(original: Any, client: Any, *args: Any, **kwargs: Any) -> Any:
    """Wrapper of py4j's ``send_command``, which all calls use."""
    action = _pending.action
    if action is not None:
        # Cleared first, because the action makes calls itself.
        _pending.action = None
        action()
    return original(client, *args, **kwargs)
