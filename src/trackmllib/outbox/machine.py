"""Identity of this machine, of its last start, and of its local disks."""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import re
from functools import lru_cache
from pathlib import Path

_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
# File systems that only one machine uses at a time. Any other may be shared.
_LOCAL = frozenset(
    ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs")
)


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The id of the last start of this machine; empty if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@lru_cache(maxsize=1)
def started_ms() -> float:
    """The time of the last start of this machine; infinity if it is unknown."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
        return next(int(line.split()[1]) * 1000.0 for line in lines if line.startswith("btime "))
    except (OSError, StopIteration, ValueError):
        return math.inf


@lru_cache(maxsize=1)
def machine_id() -> str:
    """The id of this installation; empty if there is none.

    Many containers have none. Machines and containers of one image may have the same id.
    """
    for path in _MACHINE_IDS:
        try:
            found = path.read_text().strip()
        except (OSError, ValueError):
            continue
        if re.fullmatch("[0-9a-f]{32}", found):
            return found
    return ""


def signature(text: str) -> str:
    """Sign a text with the machine id; empty without a machine id.

    machine-id(5) asks to keep the id itself confidential, and others may read the directory.
    """
    key = machine_id()
    return key and hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def is_on_local_disk(folder: Path, mounts: str | None = None) -> bool:
    """Whether only this machine can use the file system of a directory.

    False if unknown. ``mounts`` has the format of ``/proc/self/mountinfo``.
    """
    try:
        if mounts is None:
            mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
        folder = Path(os.path.realpath(folder))
    except OSError:
        return False
    depth, kind = -1, ""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields.split(" ")[4]))
        # Of two mounts on one directory, the later one hides the other.
        if folder.is_relative_to(point) and len(point.parts) >= depth:
            depth, kind = len(point.parts), rest.split(" ")[0]
    return kind in _LOCAL
