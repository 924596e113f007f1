"""Directory of outboxes, one file per process.

It is ``$TRACKMLLIB_HOME/outbox``, or else in the platform's directory for user state. Only the user
may write to it.
"""

from __future__ import annotations

import os
import stat
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import platformdirs

from trackmllib.exceptions import OutboxError
from trackmllib.outbox import integrity
from trackmllib.outbox.lock import Lock, LocksUnsupported, Owner, read_owner, this_process
from trackmllib.outbox.machine import is_on_local_disk
from trackmllib.outbox.recovered import RecoveredOutbox
from trackmllib.outbox.sqlite import UNTRUSTED_MODE, SqliteOutbox

VARIABLE = "TRACKMLLIB_HOME"
_SUFFIX = ".db"
_OWN_DIRECTORY = f"Fix: set {VARIABLE} to a directory of your own"

B = TypeVar("B", bound=SqliteOutbox, covariant=True)


@dataclass(frozen=True)
class LockedOutbox(Generic[B]):
    """Outbox locked by this process, with a warning if texts are damaged."""

    outbox: B
    lock: Lock
    warning: str = ""

    def release(self, closed: Collection[str] = ()) -> None:
        """Close and unlock it; delete it if only ``closed`` searches are left."""
        is_empty = self.outbox.is_empty(closed)
        self.outbox.close()
        if is_empty:
            _remove(self.outbox.path)
            self.lock.path.unlink(missing_ok=True)
        self.lock.release()


class Entry(NamedTuple):
    """Outbox file that this process has not opened.

    ``owner_alive``: its process is alive, or may be; ``doubt``: why that is unknown.
    """

    path: Path
    owner: Owner | None
    owner_alive: bool
    doubt: str = ""

    @classmethod
    def of(cls, lock: Path) -> Entry:
        """The outbox of a lock file."""
        path, owner = lock.with_suffix(""), read_owner(lock)
        try:
            return cls(path, owner, Lock.is_held(lock))
        except LocksUnsupported as error:
            doubt = (
                f"left as it is: the file system has no locks ({error.strerror}), so trackmllib "
                "cannot tell whether its process is alive. Fix: when that process has ended, copy "
                f"the directory to a local disk, and set {VARIABLE} to the copy"
            )
            return cls(path, owner, True, doubt)

    def check(self) -> None:
        """Raise OutboxError if the file is unsafe, or if there is ``doubt``."""
        if self.doubt:
            raise OutboxError(self.doubt)
        check(self.path)

    @property
    def is_of_this_machine(self) -> bool:
        """Whether a process of this machine owns it, or owned it last."""
        if self.owner is None or self.owner.is_of_this_machine():
            return True
        return self.owner.is_of_this_installation() and is_on_local_disk(self.path.parent)


class OutboxDirectory:
    """The outboxes of a user.

    ``unusable``: why the environment names no directory that can exist. All methods but
    ``for_user`` raise OutboxError for a directory that is unsafe or unusable.
    """

    def __init__(self, path: Path, unusable: str = "") -> None:
        self.path = path
        self.unusable = unusable

    @classmethod
    def for_user(cls, environ: Mapping[str, str] = os.environ) -> OutboxDirectory:
        """The directory that the environment names, or the platform's own."""
        named = environ.get(VARIABLE)
        if not named:
            return cls._of_platform()
        home = Path(named)
        try:
            home = home.expanduser()
        except RuntimeError:
            reason = "there is no such home directory"
        else:
            try:
                home = home.absolute()
                reason = "no path can contain a NUL" if "\0" in named else ""
            except OSError:
                reason = "the current directory, to which it is relative, does not exist"
        return cls(home / "outbox", reason and f"{VARIABLE} is {named!r}, but {reason}")

    @classmethod
    def _of_platform(cls) -> OutboxDirectory:
        try:
            home = platformdirs.user_state_path("trackmllib")
        except RuntimeError:
            home = Path("~")
        # Older versions of platformdirs return a path that begins with a tilde.
        exists = home.is_absolute()
        reason = f"This user has no home directory, and {VARIABLE} is not set"
        return cls(home / "outbox", "" if exists else reason)

    def create(
        self,
        changed: threading.Condition | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> LockedOutbox[SqliteOutbox]:
        """Create an outbox for this process."""
        self.check_usable()
        try:
            # The mode of mkdir applies to the last directory only.
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise OutboxError(
                f"{self.path} cannot be created: {error.strerror}. {_OWN_DIRECTORY}"
            ) from error
        check(self.path, is_directory=True)
        path = self.path / f"{uuid.uuid4()}{_SUFFIX}"
        try:
            lock = Lock.acquire(_lock_of(path), create=True)
        except LocksUnsupported as error:
            raise OutboxError(
                f"its file system has no locks ({error.strerror}). Fix: set {VARIABLE} to a "
                "directory on a local disk"
            ) from error
        if lock is None:
            # Another process was testing the lock at this moment.
            return self.create(changed, monotonic)
        try:
            lock.write_owner(this_process())
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
            return LockedOutbox(SqliteOutbox(path, changed, monotonic), lock)
        except BaseException:
            _remove(path)
            lock.path.unlink(missing_ok=True)
            lock.release()
            raise

    def is_empty(self) -> bool:
        """Whether there is no outbox; opens no file."""
        self.check_usable()
        return not any(self.path.glob(f"*{_SUFFIX}.lock"))

    def entries(self) -> list[Entry]:
        """All outboxes, including those of other machines, oldest first."""
        self.check_usable()
        try:
            check(self.path, is_directory=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutboxError(
                f"{self.path} cannot be read: {error.strerror}. {_OWN_DIRECTORY}"
            ) from error
        found = sorted(self.path.glob(f"*{_SUFFIX}.lock"), key=lambda p: (_mtime(p), p.name))
        return [Entry.of(path) for path in found]

    def damaged(self) -> list[Path]:
        """Damaged files, which were renamed and kept."""
        self.check_usable()
        return sorted(self.path.glob(f"*{integrity.SUFFIX}"))

    def claim(
        self,
        entry: Entry,
        *,
        also_host: str | None = None,
        changed: threading.Condition | None = None,
    ) -> LockedOutbox[RecoveredOutbox] | None:
        """Lock and open the outbox of a dead process, or return None.

        The process of an outbox from another machine may be alive, so the user must name that
        machine, ``also_host``. Raises OutboxError for an unsafe file, and its subclass
        DamagedOutbox for a damaged one, which is renamed.
        """
        of_host = entry.is_of_this_machine or (entry.owner and entry.owner.host == also_host)
        if entry.owner_alive or not of_host:
            return None
        try:
            check(_lock_of(entry.path))
        except FileNotFoundError:
            # Another process has just delivered it.
            return None
        lock = Lock.acquire(_lock_of(entry.path))
        if lock is None:
            return None
        try:
            if not entry.path.exists():
                # Its process died before it created the file, or after it deleted it.
                lock.path.unlink(missing_ok=True)
                lock.release()
                return None
            for file in _files_of(entry.path):
                if file.is_symlink() or file.exists():
                    check(file)
            is_untrusted = stat.S_IMODE(entry.path.stat().st_mode) == UNTRUSTED_MODE
            outbox, warning = integrity.open_checked(entry.path, changed)
            if entry.owner is None or not entry.owner.is_of_this_boot() or is_untrusted:
                outbox.mark_all_sent()
            lock.write_owner(this_process())
            return LockedOutbox(outbox, lock, warning)
        except BaseException as error:
            if isinstance(error, integrity.DamagedOutbox):
                lock.path.unlink(missing_ok=True)
            lock.release()
            raise

    def check_usable(self) -> None:
        """Raise OutboxError if the environment names no directory that can exist."""
        if self.unusable:
            raise OutboxError(f"{self.unusable}. {_OWN_DIRECTORY}")


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _files_of(path: Path) -> list[Path]:
    """The database of an outbox, and the two files that SQLite adds."""
    return [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]


def _remove(path: Path) -> None:
    for file in _files_of(path):
        file.unlink(missing_ok=True)


def _mtime(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def check(path: Path, *, is_directory: bool = False) -> None:
    """Raise OutboxError for a file that another user could create or change."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise OutboxError(
            f"{path} is a link, which trackmllib does not follow. {_OWN_DIRECTORY}, or remove the "
            "link"
        )
    if not (stat.S_ISDIR if is_directory else stat.S_ISREG)(found.st_mode):
        kind = "directory" if is_directory else "file"
        raise OutboxError(f"{path} is not a {kind}. Fix: move it away")
    if found.st_uid != os.geteuid():
        raise OutboxError(f"{path} belongs to another user (uid {found.st_uid}). {_OWN_DIRECTORY}")
    if found.st_mode & 0o022:
        raise OutboxError(
            f"{path} can be written by others. Fix: check that its content is yours, then run "
            f"chmod go-w {path}"
        )
