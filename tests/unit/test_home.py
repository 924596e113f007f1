"""The folder of the outboxes: who may open which, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import platformdirs
import pytest

from trackmllib.errors import OutboxError
from trackmllib.operations import CloseSearch, Destination, LogArtifact, OpenMainRun
from trackmllib.outbox.home import Home
from trackmllib.outbox.machine import is_on_local_disk, machine_id
from trackmllib.outbox.owner import Lock, read_owner, signed, this_process

OTHER_UID = 54321

DRIVER = """
import sys, time
from pathlib import Path
from trackmllib.operations import LogArtifact
from trackmllib.outbox.home import Home

held = Home(Path(sys.argv[1])).create()
held.outbox.put([LogArtifact(search_id="s", candidate=0, file_name=n, text="") for n in "abc"])
print("ready", flush=True)
time.sleep(300)
"""


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "outbox")


@pytest.fixture
def umask():
    """Sets the umask for a test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@contextmanager
def driver(folder: Path):
    """A real process that has an outbox in the folder, with three rows."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()


def left_behind(home: Home) -> Path:
    """The outbox of a process that was killed."""
    with driver(home.folder):
        pass
    (path,) = home.folder.glob("*.db")
    return path


def artifact(name, search_id="s"):
    return LogArtifact(search_id=search_id, candidate=0, file_name=name, text="")


def names(outbox) -> list[str]:
    return [row.operation.file_name for row in outbox.peek(100)]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def files(home: Home) -> list[str]:
    return sorted(path.name for path in home.folder.iterdir())


def lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def give_up(held) -> None:
    held.outbox.close()
    held.lock.release()


# Who may read and write.


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o002, 0o077])
def test_only_the_user_can_read_whatever_the_umask(home, umask, mask):
    umask(mask)
    held = home.create()
    held.outbox.put([artifact("a")])
    assert mode(home.folder) == 0o700
    found = {re.sub(r"^[0-9a-f-]{36}", "", path.name): path for path in home.folder.iterdir()}
    assert set(found) == {".db", ".db-wal", ".db-shm", ".db.lock"}
    for path in found.values():
        assert mode(path) == 0o600, path
    held.release()


def test_a_folder_that_cannot_be_made_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match=r"file/outbox cannot be made"):
        Home(tmp_path / "file" / "outbox").create()


def test_a_folder_that_is_a_link_is_refused(home, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    home.folder.symlink_to(tmp_path / "elsewhere")
    for look in (home.create, home.entries):
        with pytest.raises(OutboxError, match=r"is a link.*TRACKMLLIB_HOME"):
            look()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(home):
    home.folder.write_text("mine")
    with pytest.raises(OutboxError, match=re.escape(str(home.folder))):
        home.create()
    with pytest.raises(OutboxError, match="is not a folder"):
        home.entries()
    assert home.folder.read_text() == "mine"


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o777])
def test_a_folder_that_others_can_write_in_is_refused(home, bits):
    home.folder.mkdir()
    home.folder.chmod(bits)
    for look in (home.create, home.entries):
        with pytest.raises(OutboxError, match=r"can be written by others.*chmod go-w"):
            look()
    assert list(home.folder.iterdir()) == []


def test_a_folder_of_another_user_is_refused(home, monkeypatch):
    home.folder.mkdir(mode=0o700)
    belongs_to_another(home.folder, monkeypatch)
    for look in (home.create, home.entries):
        with pytest.raises(OutboxError, match=r"belongs to another user.*TRACKMLLIB_HOME"):
            look()


def belongs_to_another(path: Path, monkeypatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, OTHER_UID, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: OTHER_UID)


def refuses_to_take(home: Home, sentence: str) -> None:
    (entry,) = home.entries()
    with pytest.raises(OutboxError, match=sentence):
        home.take(entry)
    (entry,) = home.entries()
    assert not entry.lives, "the lock is still held"


def test_an_outbox_that_is_a_link_is_refused(home, tmp_path):
    path = left_behind(home)
    elsewhere = tmp_path / "elsewhere.db"
    path.rename(elsewhere)
    before = elsewhere.read_bytes()
    path.symlink_to(elsewhere)
    refuses_to_take(home, "is a link")
    assert elsewhere.read_bytes() == before


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666])
def test_an_outbox_that_others_can_write_is_refused(home, bits):
    left_behind(home).chmod(bits)
    refuses_to_take(home, "can be written by others")


def test_an_outbox_of_another_user_is_refused(home, monkeypatch):
    path = left_behind(home)
    belongs_to_another(path, monkeypatch)
    # Where nobody can give a file away, all files are another user's, the folder first.
    with pytest.raises(OutboxError, match="belongs to another user"):
        home.take(*home.entries())


def test_a_lock_that_is_not_safe_is_refused(home, monkeypatch):
    path = left_behind(home)
    lock_of(path).chmod(0o666)
    refuses_to_take(home, r"\.lock can be written by others")


def test_a_lock_that_is_a_link_is_refused(home, tmp_path):
    path = left_behind(home)
    elsewhere = tmp_path / "lock"
    lock_of(path).rename(elsewhere)
    lock_of(path).symlink_to(elsewhere)
    (entry,) = home.entries()
    with pytest.raises(OutboxError, match="is a link"):
        home.take(entry)


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_log_that_is_a_link_is_refused(home, tmp_path, suffix):
    """SQLite would follow it and write to what it leads to."""
    path = left_behind(home)
    elsewhere = tmp_path / "precious"
    elsewhere.write_bytes(b"precious")
    log = Path(f"{path}{suffix}")
    log.unlink()
    log.symlink_to(elsewhere)
    refuses_to_take(home, "is a link")
    assert elsewhere.read_bytes() == b"precious"


# Whose outbox it is.


def test_the_outbox_of_a_living_process_is_never_taken(home):
    with driver(home.folder) as process:
        for _ in range(3):
            (entry,) = home.entries()
            assert entry.lives
            assert entry.owner.pid == process.pid
            assert entry.is_of_this_machine
            assert home.take(entry) is None
        # Even if it was thought dead a moment ago.
        assert home.take(entry._replace(lives=False)) is None
        assert read_owner(lock_of(entry.path)).pid == process.pid


def test_what_a_killed_process_left_is_taken_once(home):
    with driver(home.folder) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        (entry,) = home.entries()
        assert not entry.lives
        held = home.take(entry)
        assert names(held.outbox) == ["a", "b", "c"]
        assert held.warning == ""
        assert read_owner(lock_of(entry.path)) is not None
        assert read_owner(lock_of(entry.path)).pid == os.getpid()
        assert home.take(entry) is None
        (entry,) = home.entries()
        assert entry.lives
        give_up(held)


def test_what_was_taken_and_not_delivered_is_taken_again(home):
    left_behind(home)
    for _ in range(2):
        (entry,) = home.entries()
        held = home.take(entry)
        assert names(held.outbox) == ["a", "b", "c"]
        held.release()
    assert len(home.entries()) == 1


def rewrite_owner(path: Path, **changes) -> None:
    owner = json.loads(lock_of(path).read_text())
    lock_of(path).write_text(json.dumps({**owner, **changes}))


def test_what_another_machine_left_is_taken_only_by_its_name(home):
    rewrite_owner(left_behind(home), host="elsewhere")
    (entry,) = home.entries()
    assert not entry.is_of_this_machine
    assert home.take(entry) is None
    assert home.take(entry, also_host="another") is None
    held = home.take(entry, also_host="elsewhere")
    assert names(held.outbox) == ["a", "b", "c"]
    # What was noted there last may be missing here.
    assert all(row.again for row in held.outbox.peek(10))
    give_up(held)
    (entry,) = home.entries()
    assert entry.is_of_this_machine


def test_after_a_crash_of_the_machine_rows_may_have_been_sent(home):
    path = left_behind(home)
    (entry,) = home.entries()
    held = home.take(entry)
    assert not any(row.again for row in held.outbox.peek(10))
    give_up(held)
    rewrite_owner(path, boot_id="another start", since_ms=1_000_000)
    (entry,) = home.entries()
    assert entry.is_of_this_machine
    held = home.take(entry)
    assert len(held.outbox.peek(10)) == 3
    assert all(row.again for row in held.outbox.peek(10))
    give_up(held)


def test_a_machine_of_the_same_name_is_another_one(home):
    """Its boot id is not ours, and we have not been started since: it may be alive."""
    path = left_behind(home)
    rewrite_owner(path, boot_id="another machine")
    (entry,) = home.entries()
    assert not entry.is_of_this_machine
    assert home.take(entry) is None


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
def test_machine_with_new_host_name_recovers_its_outbox(home):
    """Without a machine id, a machine cannot be told from a container on it."""
    process = subprocess.Popen(
        [sys.executable, "-c", RENAMED_DRIVER, str(home.folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        (entry,) = home.entries()
        assert entry.lives
        assert entry.owner.host == "name-before"
        assert home.take(entry) is None
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
    (entry,) = home.entries()
    assert not entry.lives
    assert entry.is_of_this_machine is is_known(home)
    held = home.take(entry)
    assert (held is not None) is is_known(home)
    if held is not None:
        assert names(held.outbox) == ["a", "b", "c"]
        give_up(held)


def is_known(home) -> bool:
    """Whether the id of this machine tells its outbox from that of another one."""
    return bool(machine_id()) and is_on_local_disk(home.folder)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are known on Linux")
def test_new_host_name_and_new_boot_are_another_machine(home):
    """Even of the same image, as the nodes of a cluster are."""
    path = left_behind(home)
    owner = signed(replace(this_process(), host="elsewhere", boot_id="another"))
    lock_of(path).write_text(json.dumps(asdict(owner)))
    (entry,) = home.entries()
    assert not entry.is_of_this_machine
    assert home.take(entry) is None


def written_before_the_last_start(path: Path, since_ms: int) -> None:
    owner = signed(replace(this_process(), boot_id="the last start", since_ms=since_ms))
    lock_of(path).write_text(json.dumps(asdict(owner)))


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are known on Linux")
@pytest.mark.parametrize("ahead_ms", [0, 3_600_000])
def test_own_outbox_is_recovered_with_any_clock(home, ahead_ms):
    """The clock was ahead before the restart of the machine, or is behind now."""
    path = left_behind(home)
    written_before_the_last_start(path, this_process().since_ms + ahead_ms)
    (entry,) = home.entries()
    assert entry.is_of_this_machine is is_known(home)
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


def test_owner_of_a_newer_version_is_known(home):
    path = left_behind(home)
    rewrite_owner(path, anything="new")
    (entry,) = home.entries()
    assert entry.owner.pid == read_owner(lock_of(path)).pid


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "null"])
def test_a_lock_without_a_readable_owner_is_of_nobody(home, text):
    lock_of(left_behind(home)).write_text(text)
    (entry,) = home.entries()
    assert entry.owner is None
    held = home.take(entry)
    assert [row.again for row in held.outbox.peek(10)] == [True] * 3
    give_up(held)


def test_a_lock_without_an_outbox_is_removed(home):
    path = left_behind(home)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    (entry,) = home.entries()
    assert home.take(entry) is None
    assert files(home) == []


def test_looking_at_a_lock_never_takes_it_from_who_wants_it(home):
    held = home.create()
    path = held.lock.path
    assert Lock.is_held(path)
    held.lock.release()
    assert not Lock.is_held(path)
    lock = Lock.take(path)
    assert lock is not None
    assert Lock.take(path) is None
    lock.release()
    held.outbox.close()


def test_a_lock_whose_file_is_gone_is_not_taken(tmp_path):
    assert Lock.take(tmp_path / "no.lock") is None
    assert not Lock.is_held(tmp_path / "no.lock")


def test_outboxes_of_many_processes_lie_side_by_side(home):
    held = [home.create() for _ in range(5)]
    for number, one in enumerate(held):
        one.outbox.put([artifact(str(number))])
    assert [entry.lives for entry in home.entries()] == [True] * 5
    assert [names(one.outbox) for one in held] == [[str(n)] for n in range(5)]
    for one in held:
        one.release()
    assert len(home.entries()) == 5


# Forks.


def in_child(work) -> None:
    """Run in a forked child that leaves by ``sys.exit``, with all that follows from that."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            sys.exit(0)
        except SystemExit as leaving:
            code = leaving.code
        finally:
            # What an interpreter does at its end, short of pytest's own.
            import gc

            gc.collect()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_takes_nothing_from_its_parent(home):
    held = home.create()
    held.outbox.put([artifact("before")])
    before = files(home)
    in_child(lambda: None)
    assert files(home) == before
    assert Lock.is_held(held.lock.path)
    held.outbox.put([artifact("after")])
    assert names(held.outbox) == ["before", "after"]
    give_up(held)
    (entry,) = home.entries()
    again = home.take(entry)
    assert names(again.outbox) == ["before", "after"]
    give_up(again)


FORKER = """
import os, sys, time
from pathlib import Path
from trackmllib.operations import LogArtifact
from trackmllib.outbox.home import Home

held = Home(Path(sys.argv[1])).create()

def put(name):
    held.outbox.put([LogArtifact(search_id="s", candidate=0, file_name=name, text="")])

put("before")
child = os.fork()
if child == 0:
    if sys.argv[2] == "exits":
        sys.exit(0)
    os.write(1, (" ".join(map(str, ["child", os.getpid()])) + "\\n").encode())
    time.sleep(300)
if sys.argv[2] == "exits":
    os.waitpid(child, 0)
for n in range(50):
    put(f"after{n}")
os.write(1, (" ".join(map(str, ["ready"])) + "\\n").encode())
time.sleep(300)
"""


def test_a_child_that_exits_leaves_the_file_whole_and_the_lock_held(home):
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER, str(home.folder), "exits"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        (entry,) = home.entries()
        assert entry.lives
        assert home.take(entry._replace(lives=False)) is None
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
    (entry,) = home.entries()
    assert not entry.lives
    held = home.take(entry)
    assert held.warning == ""
    assert names(held.outbox) == ["before", *(f"after{n}" for n in range(50))]
    give_up(held)


def test_a_child_that_lives_on_does_not_keep_the_lock_of_its_dead_parent(home):
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER, str(home.folder), "stays"],
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
        (entry,) = home.entries()
        assert entry.lives
        process.kill()
        process.wait(30)
        (entry,) = home.entries()
        assert not entry.lives
        held = home.take(entry)
        assert names(held.outbox) == ["before", *(f"after{n}" for n in range(50))]
        give_up(held)
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
        if child is not None:
            os.kill(child, signal.SIGKILL)


# The end.


def test_the_files_go_when_nothing_is_left(home):
    held = home.create()
    held.outbox.put([artifact("a")])
    held.outbox.acknowledge([row.number for row in held.outbox.peek(10)])
    held.release()
    assert files(home) == []


def test_the_files_stay_when_rows_wait(home):
    held = home.create()
    held.outbox.put([artifact("a")])
    held.release()
    (entry,) = home.entries()
    assert not entry.lives
    again = home.take(entry)
    assert names(again.outbox) == ["a"]
    give_up(again)


def test_the_files_stay_when_something_was_refused(home):
    held = home.create()
    held.outbox.put([artifact("a")])
    held.outbox.reject([held.outbox.peek(1)[0].number], "never")
    held.release()
    assert len(home.entries()) == 1


def test_the_files_stay_when_a_search_is_open(home):
    held = home.create()
    opens = OpenMainRun(
        search_id="s", destination=Destination(tracking_uri="u"), name="n", start_ms=1
    )
    held.outbox.put([opens])
    held.outbox.acknowledge([held.outbox.peek(1)[0].number])
    held.release()
    (entry,) = home.entries()
    again = home.take(entry)
    assert again.outbox.open_searches() == ["s"]
    again.outbox.put([CloseSearch(search_id="s")])
    give_up(again)


# Where it is.


def test_the_environment_says_where(tmp_path):
    home = Home.of_user({"TRACKMLLIB_HOME": str(tmp_path / "mine")})
    assert home.folder == tmp_path / "mine" / "outbox"


def test_a_tilde_is_the_home_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    home = Home.of_user({"TRACKMLLIB_HOME": "~/state"})
    assert home.folder == tmp_path / "state" / "outbox"


def test_a_relative_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    home = Home.of_user({"TRACKMLLIB_HOME": "here"})
    monkeypatch.chdir("/")
    assert home.folder == tmp_path / "here" / "outbox"


@pytest.mark.parametrize("environ", [{}, {"TRACKMLLIB_HOME": ""}])
def test_without_it_the_platforms_folder_for_state_is_used(monkeypatch, tmp_path, environ):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    folder = Home.of_user(environ).folder
    assert folder == platformdirs.user_state_path("trackmllib") / "outbox"
    assert folder.is_relative_to(tmp_path)


def test_looking_makes_no_folder(home):
    assert home.entries() == []
    assert home.damaged() == []
    assert not home.folder.exists()


def test_this_process_is_of_this_machine_and_this_start():
    owner = this_process()
    assert owner.pid == os.getpid()
    assert owner.is_of_this_machine()
    assert owner.is_of_this_boot()
