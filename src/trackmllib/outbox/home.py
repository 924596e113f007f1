"""The folder of the outboxes: one file a process, and who may open which.

``TRACKMLLIB_HOME``, or else the platform's folder for the state of a user's programs. Nobody but
the user may write there, or read.
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

from trackmllib.errors import OutboxError
from trackmllib.outbox.left_behind import LeftBehind
from trackmllib.outbox.machine import is_on_local_disk
from trackmllib.outbox.owner import Lock, NoLocks, Owner, read_owner, this_process
from trackmllib.outbox.salvage import open_or_salvage
from trackmllib.outbox.sqlite import DOUBTFUL_MODE, SqliteOutbox

VARIABLE = "TRACKMLLIB_HOME"
_SUFFIX = ".db"

B = TypeVar("B", bound=SqliteOutbox, covariant=True)


@dataclass(frozen=True)
class HeldOutbox(Generic[B]):
    """An outbox that this process holds. ``warning`` says what became of a damaged file."""

    outbox: B
    lock: Lock
    warning: str = ""

    def release(self, over: Collection[str] = ()) -> None:
        """Give it up. Where nothing is left in it but what is ``over``, the files go too."""
        empty = self.outbox.is_empty(over)
        self.outbox.close()
        if empty:
            _remove(self.outbox.path)
            self.lock.path.unlink(missing_ok=True)
        self.lock.release()


class Entry(NamedTuple):
    """An outbox in the folder, seen from outside.

    ``lives``: its process is alive, or may be; ``doubt`` then says why that is unknown.
    """

    path: Path
    owner: Owner | None
    lives: bool
    doubt: str = ""

    @classmethod
    def of(cls, lock: Path) -> Entry:
        """The outbox of a lock file."""
        path, owner = lock.with_suffix(""), read_owner(lock)
        try:
            return cls(path, owner, Lock.is_held(lock))
        except NoLocks as error:
            doubt = (
                f"left as it is: the file system has no locks ({error.strerror}), so trackmllib "
                "cannot tell whether its process is alive. When that process has ended, copy the "
                f"folder to a local disk, and set {VARIABLE} to the copy"
            )
            return cls(path, owner, True, doubt)

    def check(self) -> None:
        """Raise OutboxError if the file is unsafe, or its process is in ``doubt``."""
        if self.doubt:
            raise OutboxError(self.doubt)
        check(self.path)

    @property
    def is_of_this_machine(self) -> bool:
        if self.owner is None or self.owner.is_of_this_machine():
            return True
        return self.owner.is_of_this_installation() and is_on_local_disk(self.path.parent)


class Home:
    """The outboxes of a user. OutboxError if the folder is not safe or cannot be used.

    ``unusable`` says why the environment names no folder that can exist; else it is empty.
    """

    def __init__(self, folder: Path, unusable: str = "") -> None:
        self.folder = folder
        self.unusable = unusable

    @classmethod
    def of_user(cls, environ: Mapping[str, str] = os.environ) -> Home:
        """The folder that the environment names, or the platform's own. Never raises."""
        named = environ.get(VARIABLE)
        if not named:
            return cls._of_platform()
        home = Path(named)
        try:
            home = home.expanduser()
        except RuntimeError:
            reason = "there is no such home folder"
        else:
            try:
                home = home.absolute()
                reason = "no path can contain a NUL" if "\0" in named else ""
            except OSError:
                reason = "the current folder, to which it is relative, does not exist"
        return cls(home / "outbox", reason and f"{VARIABLE} is {named!r}, but {reason}")

    @classmethod
    def _of_platform(cls) -> Home:
        try:
            home = platformdirs.user_state_path("trackmllib")
        except RuntimeError:
            home = Path("~")
        # Older versions of platformdirs return a path that begins with a tilde.
        is_there = home.is_absolute()
        reason = f"There is no home folder of this user, and {VARIABLE} is not set"
        return cls(home / "outbox", "" if is_there else reason)

    def create(
        self,
        changed: threading.Condition | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> HeldOutbox[SqliteOutbox]:
        """A new outbox for this process."""
        self.check_usable()
        try:
            # The mode of mkdir is for the last folder only.
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise OutboxError(
                f"{self.folder} cannot be made: {error.strerror}; set {VARIABLE} to a folder of "
                "your own"
            ) from error
        check(self.folder, is_folder=True)
        path = self.folder / f"{uuid.uuid4()}{_SUFFIX}"
        try:
            lock = Lock.take(_lock_of(path), create=True)
        except NoLocks as error:
            raise OutboxError(
                f"its file system has no locks ({error.strerror}); set {VARIABLE} to a folder on a "
                "local disk"
            ) from error
        if lock is None:
            # Somebody looked at the very moment whether it is held.
            return self.create(changed, monotonic)
        try:
            lock.sign(this_process())
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
            return HeldOutbox(SqliteOutbox(path, changed, monotonic), lock)
        except BaseException:
            _remove(path)
            lock.path.unlink(missing_ok=True)
            lock.release()
            raise

    def is_empty(self) -> bool:
        """Whether there is no outbox at all; looks at nothing but the names."""
        self.check_usable()
        return not any(self.folder.glob(f"*{_SUFFIX}.lock"))

    def entries(self) -> list[Entry]:
        """All outboxes that are here, also those of other machines, oldest first."""
        self.check_usable()
        try:
            check(self.folder, is_folder=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutboxError(
                f"{self.folder} cannot be read: {error.strerror}; set {VARIABLE} to a folder of "
                "your own"
            ) from error
        found = sorted(self.folder.glob(f"*{_SUFFIX}.lock"), key=lambda p: (_mtime(p), p.name))
        return [Entry.of(path) for path in found]

    def damaged(self) -> list[Path]:
        """The files that were set aside because they could not be read whole."""
        self.check_usable()
        return sorted(self.folder.glob("*.damaged"))

    def take(
        self,
        entry: Entry,
        *,
        also_host: str | None = None,
        changed: threading.Condition | None = None,
    ) -> HeldOutbox[LeftBehind] | None:
        """The outbox of a process that has died; None if it has not, or if it is not for us.

        Of another machine nobody here can tell whether its process lives: it is taken only if the
        user says so, with the name of that machine. OutboxError for a file that is not safe.
        """
        of_host = entry.is_of_this_machine or (entry.owner and entry.owner.host == also_host)
        if entry.lives or not of_host:
            return None
        try:
            check(_lock_of(entry.path))
        except FileNotFoundError:
            # Somebody else has just emptied it.
            return None
        lock = Lock.take(_lock_of(entry.path))
        if lock is None:
            return None
        try:
            if not entry.path.exists():
                # Its process died before it had begun, or after it had ended.
                lock.path.unlink(missing_ok=True)
                lock.release()
                return None
            for file in _files_of(entry.path):
                if file.is_symlink() or file.exists():
                    check(file)
            is_doubtful = stat.S_IMODE(entry.path.stat().st_mode) == DOUBTFUL_MODE
            outbox, warning = open_or_salvage(entry.path, changed)
            if entry.owner is None or not entry.owner.is_of_this_boot() or is_doubtful:
                outbox.mark_all_as_sent()
            lock.sign(this_process())
            return HeldOutbox(outbox, lock, warning)
        except BaseException:
            lock.release()
            raise

    def check_usable(self) -> None:
        """Raise OutboxError if there is no folder that can be used."""
        if self.unusable:
            raise OutboxError(f"{self.unusable}. Set {VARIABLE} to a folder of your own")


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _files_of(path: Path) -> list[Path]:
    """The files of an outbox: its database, and the two that SQLite makes and removes."""
    return [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]


def _remove(path: Path) -> None:
    for file in _files_of(path):
        file.unlink(missing_ok=True)


def _mtime(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def check(path: Path, *, is_folder: bool = False) -> None:
    """Refuse what somebody else could have put here, or could change."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise OutboxError(
            f"{path} is a link; trackmllib follows none. Remove it, or set {VARIABLE} to a folder "
            "of your own"
        )
    if not (stat.S_ISDIR if is_folder else stat.S_ISREG)(found.st_mode):
        raise OutboxError(f"{path} is not a {'folder' if is_folder else 'file'}; move it away")
    if found.st_uid != os.geteuid():
        raise OutboxError(
            f"{path} belongs to another user (uid {found.st_uid}). Set {VARIABLE} to a folder of "
            "your own"
        )
    if found.st_mode & 0o022:
        raise OutboxError(
            f"{path} can be written by others. Look whether it is as you left it, then: "
            f"chmod go-w {path}"
        )
