"""Lock of an outbox, which the system releases when the process dies.

It is a ``flock`` on a file beside the outbox, because SQLite itself locks the outbox. The lock file
names its owner. A process id alone proves nothing, because the system reuses ids.
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
    """A process, its machine, and the start of that machine.

    ``since_ms`` is when the process locked the outbox. ``signature`` signs the other fields with
    the machine id; it is empty if the machine has none.
    """

    host: str
    boot_id: str
    pid: int
    since_ms: int
    signature: str = ""

    def is_of_this_machine(self) -> bool:
        """Whether the host name and the boot id match.

        Another boot id matches if this machine has restarted since; if it has not, that boot id
        is of another machine of the same name.
        """
        if self.host != socket.gethostname():
            return False
        return self.boot_id == boot_id() or self.since_ms < started_ms()

    def is_of_this_boot(self) -> bool:
        """Whether this machine owned it, and has not restarted since."""
        return self.is_of_this_machine() and self.boot_id == boot_id()

    def is_of_this_installation(self) -> bool:
        """Whether the machine id matches, and the host name or the boot id.

        Machines and containers of one image may share a machine id, so this is enough only for a
        directory that no other machine uses. It does not depend on the clock.
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
    """Sign an owner with the id of this machine."""
    written = json.dumps([owner.host, owner.boot_id, owner.pid, owner.since_ms])
    return replace(owner, signature=signature(written))


def read_owner(path: Path) -> Owner | None:
    """The owner that a lock file names; None if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        # A later version may write more fields.
        return Owner(
            **{field.name: found[field.name] for field in fields(Owner) if field.name in found}
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


class LocksUnsupported(OSError):
    """The file system of an outbox has no locks."""


class Lock:
    """Lock of one outbox, held until ``release`` or the end of the process.

    ``acquire`` and ``is_held`` raise LocksUnsupported if the file system has no locks.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        _held.add(self)

    @classmethod
    def acquire(cls, path: Path, *, create: bool = False) -> Lock | None:
        """Return the lock; None if another process has it or the file is gone.

        With ``create``, the file is created, and deleted if the lock cannot be acquired.
        """
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            return None
        try:
            _flock(descriptor, fcntl.LOCK_EX)
            # The process that held it before may have deleted the file in the meantime.
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
        """Whether a living process holds the lock of this file."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            # Gone, or a link, which ``acquire`` reports.
            return False
        try:
            _flock(descriptor, fcntl.LOCK_SH)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def write_owner(self, owner: Owner) -> None:
        text = json.dumps(asdict(owner)).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Release the lock; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _flock(descriptor: int, how: int) -> None:
    """Lock a file; BlockingIOError if another process holds the lock."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        raise LocksUnsupported(error.errno, error.strerror) from error


_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _release_all() -> None:
    for lock in list(_held):
        lock.release()


# A forked child must not keep a lock alive. Closing its file does not release the parent's lock.
os.register_at_fork(after_in_child=_release_all)
