"""Who owns an outbox: processes, machines and forked children."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from support.outbox_files import (
    DRIVER,
    artifact,
    close,
    driver,
    files,
    lock_of,
    names,
    orphaned_outbox,
)
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.lock import Lock, read_owner, signed, this_process
from trackmllib.outbox.machine import is_on_local_disk, machine_id


@pytest.fixture
def directory(tmp_path) -> OutboxDirectory:
    return OutboxDirectory(tmp_path / "outbox")


# Owners.


def test_outbox_of_living_process_is_not_claimed(directory):
    with driver(directory.path) as process:
        for _ in range(3):
            (entry,) = directory.entries()
            assert entry.owner_alive
            assert entry.owner.pid == process.pid
            assert entry.is_of_this_machine
            assert directory.claim(entry) is None
        # Even if it seemed dead a moment ago.
        assert directory.claim(entry._replace(owner_alive=False)) is None
        assert read_owner(lock_of(entry.path)).pid == process.pid


def test_outbox_of_killed_process_is_claimed_once(directory):
    with driver(directory.path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        (entry,) = directory.entries()
        assert not entry.owner_alive
        locked = directory.claim(entry)
        assert names(locked.outbox) == ["a", "b", "c"]
        assert locked.warning == ""
        assert read_owner(lock_of(entry.path)) is not None
        assert read_owner(lock_of(entry.path)).pid == os.getpid()
        assert directory.claim(entry) is None
        (entry,) = directory.entries()
        assert entry.owner_alive
        close(locked)


def test_undelivered_outbox_is_claimed_again(directory):
    orphaned_outbox(directory)
    for _ in range(2):
        (entry,) = directory.entries()
        locked = directory.claim(entry)
        assert names(locked.outbox) == ["a", "b", "c"]
        locked.release()
    assert len(directory.entries()) == 1


def rewrite_owner(path: Path, **changes) -> None:
    owner = json.loads(lock_of(path).read_text())
    lock_of(path).write_text(json.dumps({**owner, **changes}))


def test_outbox_of_another_machine_is_claimed_by_its_name(directory):
    rewrite_owner(orphaned_outbox(directory), host="elsewhere")
    (entry,) = directory.entries()
    assert not entry.is_of_this_machine
    assert directory.claim(entry) is None
    assert directory.claim(entry, also_host="another") is None
    locked = directory.claim(entry, also_host="elsewhere")
    assert names(locked.outbox) == ["a", "b", "c"]
    # The last marks of sent rows may be missing here.
    assert all(row.redelivered for row in locked.outbox.peek(10))
    close(locked)
    (entry,) = directory.entries()
    assert entry.is_of_this_machine


def test_rows_are_redelivered_after_machine_crash(directory):
    path = orphaned_outbox(directory)
    (entry,) = directory.entries()
    locked = directory.claim(entry)
    assert not any(row.redelivered for row in locked.outbox.peek(10))
    close(locked)
    rewrite_owner(path, boot_id="another start", since_ms=1_000_000)
    (entry,) = directory.entries()
    assert entry.is_of_this_machine
    locked = directory.claim(entry)
    assert len(locked.outbox.peek(10)) == 3
    assert all(row.redelivered for row in locked.outbox.peek(10))
    close(locked)


def test_other_machine_of_same_name_is_foreign(directory):
    """Its boot id differs, and this machine has not restarted since: it may be alive."""
    path = orphaned_outbox(directory)
    rewrite_owner(path, boot_id="another machine")
    (entry,) = directory.entries()
    assert not entry.is_of_this_machine
    assert directory.claim(entry) is None


RENAMED_DRIVER = f"""
import ctypes, os
CLONE_NEWUTS = 0x04000000
assert ctypes.CDLL(None).unshare(CLONE_NEWUTS) == 0
name = b"name-before"
assert ctypes.CDLL(None).sethostname(name, len(name)) == 0
{DRIVER}
"""

linux_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root of Linux can change its name"
)


@linux_root
def test_machine_with_new_host_name_recovers_its_outbox(directory):
    """Without a machine id, a machine looks like a container on it."""
    process = subprocess.Popen(
        [sys.executable, "-c", RENAMED_DRIVER, str(directory.path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        (entry,) = directory.entries()
        assert entry.owner_alive
        assert entry.owner.host == "name-before"
        assert directory.claim(entry) is None
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
    (entry,) = directory.entries()
    assert not entry.owner_alive
    assert entry.is_of_this_machine is is_known(directory)
    locked = directory.claim(entry)
    assert (locked is not None) is is_known(directory)
    if locked is not None:
        assert names(locked.outbox) == ["a", "b", "c"]
        close(locked)


def is_known(directory) -> bool:
    """Whether this machine has an id that tells its outboxes from those of other machines."""
    return bool(machine_id()) and is_on_local_disk(directory.path)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are known on Linux")
def test_new_host_name_and_new_boot_are_another_machine(directory):
    """Even of the same image, as the nodes of a cluster are."""
    path = orphaned_outbox(directory)
    owner = signed(replace(this_process(), host="elsewhere", boot_id="another"))
    lock_of(path).write_text(json.dumps(asdict(owner)))
    (entry,) = directory.entries()
    assert not entry.is_of_this_machine
    assert directory.claim(entry) is None


def write_owner_of_last_boot(path: Path, since_ms: int) -> None:
    owner = signed(replace(this_process(), boot_id="the last start", since_ms=since_ms))
    lock_of(path).write_text(json.dumps(asdict(owner)))


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are known on Linux")
@pytest.mark.parametrize("ahead_ms", [0, 3_600_000])
def test_own_outbox_is_recovered_with_any_clock(directory, ahead_ms):
    """The clock was ahead before the machine restarted, or is behind now."""
    path = orphaned_outbox(directory)
    write_owner_of_last_boot(path, this_process().since_ms + ahead_ms)
    (entry,) = directory.entries()
    assert entry.is_of_this_machine is is_known(directory)
    assert not entry.owner.is_of_this_boot()


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
23 22 0:40 / /home rw,relatime shared:1 - nfs4 server:/home rw,local_lock=none
24 22 8:2 / /home/local\\040disk rw - xfs /dev/sdb rw
25 22 0:41 / /mnt/any rw,relatime - ext4 /dev/sdc rw
26 22 0:42 / /mnt/any rw,relatime - fuse.sshfs server:/ rw
"""


@pytest.mark.parametrize(
    ("folder", "is_local"),
    [
        ("/var/lib", True),
        ("/homes/user", True),
        ("/home/user", False),
        ("/home/local disk/user", True),
        ("/mnt/any", False),
    ],
)
def test_local_and_shared_disks(folder, is_local):
    assert is_on_local_disk(Path(folder), MOUNTS) is is_local


def test_owner_signed_by_other_machine_is_foreign():
    owner = this_process()
    assert owner.is_signed_here() is bool(machine_id())
    for change in ({"host": "a"}, {"boot_id": "b"}, {"pid": 1}, {"since_ms": 1}):
        assert not replace(owner, **change).is_signed_here()
    assert not replace(owner, signature="").is_signed_here()


def test_owner_of_newer_version_is_read(directory):
    path = orphaned_outbox(directory)
    rewrite_owner(path, anything="new")
    (entry,) = directory.entries()
    assert entry.owner.pid == read_owner(lock_of(path)).pid


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "null"])
def test_outbox_with_unreadable_owner_is_claimed(directory, text):
    lock_of(orphaned_outbox(directory)).write_text(text)
    (entry,) = directory.entries()
    assert entry.owner is None
    locked = directory.claim(entry)
    assert [row.redelivered for row in locked.outbox.peek(10)] == [True] * 3
    close(locked)


def test_lock_without_outbox_is_deleted(directory):
    path = orphaned_outbox(directory)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    (entry,) = directory.entries()
    assert directory.claim(entry) is None
    assert files(directory) == []


def test_look_at_lock_keeps_nobody_from_acquiring_it(directory):
    locked = directory.create()
    path = locked.lock.path
    assert Lock.is_held(path)
    locked.lock.release()
    assert not Lock.is_held(path)
    lock = Lock.acquire(path)
    assert lock is not None
    assert Lock.acquire(path) is None
    lock.release()
    locked.outbox.close()


def test_lock_without_file_is_not_acquired(tmp_path):
    assert Lock.acquire(tmp_path / "no.lock") is None
    assert not Lock.is_held(tmp_path / "no.lock")


def test_many_processes_create_outboxes_at_once(directory):
    locked = [directory.create() for _ in range(5)]
    for number, one in enumerate(locked):
        one.outbox.enqueue([artifact(str(number))])
    assert [entry.owner_alive for entry in directory.entries()] == [True] * 5
    assert [names(one.outbox) for one in locked] == [[str(n)] for n in range(5)]
    for one in locked:
        one.release()
    assert len(directory.entries()) == 5


# Forks.


def in_child(work) -> None:
    """Run a function in a forked child that ends by ``sys.exit``, as an interpreter ends."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            sys.exit(0)
        except SystemExit as leaving:
            code = leaving.code
        finally:
            # As at the end of an interpreter, but without pytest's own end.
            import gc

            gc.collect()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child_does_not_claim_outbox_of_parent(directory):
    locked = directory.create()
    locked.outbox.enqueue([artifact("before")])
    before = files(directory)
    in_child(lambda: None)
    assert files(directory) == before
    assert Lock.is_held(locked.lock.path)
    locked.outbox.enqueue([artifact("after")])
    assert names(locked.outbox) == ["before", "after"]
    close(locked)
    (entry,) = directory.entries()
    claimed = directory.claim(entry)
    assert names(claimed.outbox) == ["before", "after"]
    close(claimed)


FORKER = """
import os, sys, time
from pathlib import Path
from trackmllib.domain.operations import LogArtifact
from trackmllib.outbox.directory import OutboxDirectory

locked = OutboxDirectory(Path(sys.argv[1])).create()

def enqueue(name):
    locked.outbox.enqueue([LogArtifact(search_id="s", candidate=0, file_name=name, text="")])

enqueue("before")
child = os.fork()
if child == 0:
    if sys.argv[2] == "exits":
        sys.exit(0)
    os.write(1, (" ".join(map(str, ["child", os.getpid()])) + "\\n").encode())
    time.sleep(300)
if sys.argv[2] == "exits":
    os.waitpid(child, 0)
for n in range(50):
    enqueue(f"after{n}")
os.write(1, (" ".join(map(str, ["ready"])) + "\\n").encode())
time.sleep(300)
"""


def test_exit_of_forked_child_keeps_file_and_lock(directory):
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER, str(directory.path), "exits"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        (entry,) = directory.entries()
        assert entry.owner_alive
        assert directory.claim(entry._replace(owner_alive=False)) is None
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
    (entry,) = directory.entries()
    assert not entry.owner_alive
    locked = directory.claim(entry)
    assert locked.warning == ""
    assert names(locked.outbox) == ["before", *(f"after{n}" for n in range(50))]
    close(locked)


def test_forked_child_does_not_hold_lock_of_dead_parent(directory):
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER, str(directory.path), "stays"],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = None
    try:
        for _ in range(2):
            line = process.stdout.readline().split()
            if line[0] == "child":
                child = int(line[1])
        assert child is not None
        (entry,) = directory.entries()
        assert entry.owner_alive
        process.kill()
        process.wait(30)
        (entry,) = directory.entries()
        assert not entry.owner_alive
        locked = directory.claim(entry)
        assert names(locked.outbox) == ["before", *(f"after{n}" for n in range(50))]
        close(locked)
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
        if child is not None:
            os.kill(child, signal.SIGKILL)
