"""Whose outbox a file is: a lock that the operating system frees when its process dies.

``flock`` on a file beside the outbox, never on the outbox itself: SQLite has locks of its own
there. In the file stands who the owner is. A process id says nothing: it may be anybody's by now.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import weakref
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from trackmllib.outbox.machine import boot_id, signature, started_ms


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process on a machine since its last start. ``since_ms`` is when it took the outbox.

    ``signature`` proves that a machine with this machine id wrote the other fields; it is empty if
    the machine has no id.
    """

    host: str
    boot_id: str
    pid: int
    since_ms: int
    signature: str = ""

    def is_of_this_machine(self) -> bool:
        """By the host name; where the boot id is another one, the machine must have been started
        since, or else it is another machine of the same name.
        """
        if self.host != socket.gethostname():
            return False
        return self.boot_id == boot_id() or self.since_ms < started_ms()

    def is_of_this_boot(self) -> bool:
        return self.is_of_this_machine() and self.boot_id == boot_id()

    def is_of_this_installation(self) -> bool:
        """Whether the machine id matches, and the host name or the boot id, whatever the clock was.

        Machines and containers of one image may have the same machine id, so this is enough only
        for a folder that no other machine uses.
        """
        is_known = self.host == socket.gethostname() or self.boot_id == boot_id() != ""
        return is_known and self.is_signed_here()

    def is_signed_here(self) -> bool:
        """Whether a machine with this machine id wrote this owner."""
        return self.signature != "" and self.signature == signed(self).signature


def this_process() -> Owner:
    return signed(
        Owner(
            host=socket.gethostname(),
            boot_id=boot_id(),
            pid=os.getpid(),
            since_ms=time.time_ns() // 1_000_000,
        )
    )


def signed(owner: Owner) -> Owner:
    """An owner with the signature of this machine."""
    written = json.dumps([owner.host, owner.boot_id, owner.pid, owner.since_ms])
    return replace(owner, signature=signature(written))


def read_owner(path: Path) -> Owner | None:
    """Who is written in a lock file; None if that cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        # A later version may write more.
        return Owner(
            **{field.name: found[field.name] for field in fields(Owner) if field.name in found}
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


class NoLocks(OSError):
    """The file system of an outbox has no locks."""


class Lock:
    """The lock of one outbox, held until ``release`` or the end of the process.

    Every method that takes or tests it raises NoLocks if the file system has no locks.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        _held.add(self)

    @classmethod
    def take(cls, path: Path, *, create: bool = False) -> Lock | None:
        """The lock; None while another living process holds it, or if its file is gone.

        With ``create`` the file is new, and is removed if the lock cannot be taken.
        """
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            return None
        try:
            _flock(descriptor, fcntl.LOCK_EX)
            # Whoever held it before may have removed the file meanwhile.
            if not os.path.samestat(os.fstat(descriptor), os.stat(path)):
                raise BlockingIOError
        except BaseException as error:
            if create:
                path.unlink(missing_ok=True)
            os.close(descriptor)
            if isinstance(error, (BlockingIOError, FileNotFoundError)):
                return None
            raise
        return cls(path, descriptor)

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether a process lives that holds it."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            # Gone, or a link, which whoever wants to take it is told of.
            return False
        try:
            _flock(descriptor, fcntl.LOCK_SH)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def sign(self, owner: Owner) -> None:
        """Write down who holds it now."""
        text = json.dumps(asdict(owner)).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Free it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _flock(descriptor: int, how: int) -> None:
    """Lock a file. BlockingIOError while another process holds the lock."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        raise NoLocks(error.errno, error.strerror) from error


_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _release_all() -> None:
    for lock in list(_held):
        lock.release()


# A forked child must not keep a lock alive; closing there does not free it for the parent.
os.register_at_fork(after_in_child=_release_all)
