"""Directory of the outboxes: permissions, location, and when files are deleted."""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs
import pytest

from support.outbox_files import artifact, close, files, lock_of, mode, names, orphaned_outbox
from trackmllib.domain.operations import CloseSearch, Destination, OpenParentRun
from trackmllib.exceptions import OutboxError
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.lock import this_process

OTHER_UID = 54321


@pytest.fixture
def directory(tmp_path) -> OutboxDirectory:
    return OutboxDirectory(tmp_path / "outbox")


@pytest.fixture
def umask():
    """Sets the umask for a test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


# Permissions.


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o002, 0o077])
def test_files_are_private_with_any_umask(directory, umask, mask):
    umask(mask)
    locked = directory.create()
    locked.outbox.enqueue([artifact("a")])
    assert mode(directory.path) == 0o700
    found = {re.sub(r"^[0-9a-f-]{36}", "", path.name): path for path in directory.path.iterdir()}
    assert set(found) == {".db", ".db-wal", ".db-shm", ".db.lock"}
    for path in found.values():
        assert mode(path) == 0o600, path
    locked.release()


def test_message_about_directory_that_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match=r"file/outbox cannot be created"):
        OutboxDirectory(tmp_path / "file" / "outbox").create()


def test_directory_that_is_a_link_is_refused(directory, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    directory.path.symlink_to(tmp_path / "elsewhere")
    for use in (directory.create, directory.entries):
        with pytest.raises(OutboxError, match=r"is a link.*TRACKMLLIB_HOME"):
            use()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_directory_that_is_a_file_is_refused(directory):
    directory.path.write_text("mine")
    with pytest.raises(OutboxError, match=re.escape(str(directory.path))):
        directory.create()
    with pytest.raises(OutboxError, match="is not a directory"):
        directory.entries()
    assert directory.path.read_text() == "mine"


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o777])
def test_directory_writable_by_others_is_refused(directory, bits):
    directory.path.mkdir()
    directory.path.chmod(bits)
    for use in (directory.create, directory.entries):
        with pytest.raises(OutboxError, match=r"can be written by others.*chmod go-w"):
            use()
    assert list(directory.path.iterdir()) == []


def test_directory_of_another_user_is_refused(directory, monkeypatch):
    directory.path.mkdir(mode=0o700)
    belongs_to_another(directory.path, monkeypatch)
    for use in (directory.create, directory.entries):
        with pytest.raises(OutboxError, match=r"belongs to another user.*TRACKMLLIB_HOME"):
            use()


def belongs_to_another(path: Path, monkeypatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, OTHER_UID, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: OTHER_UID)


def assert_claim_refused(directory: OutboxDirectory, sentence: str) -> None:
    (entry,) = directory.entries()
    with pytest.raises(OutboxError, match=sentence):
        directory.claim(entry)
    (entry,) = directory.entries()
    assert not entry.owner_alive, "the lock is still locked"


def test_outbox_that_is_a_link_is_refused(directory, tmp_path):
    path = orphaned_outbox(directory)
    elsewhere = tmp_path / "elsewhere.db"
    path.rename(elsewhere)
    before = elsewhere.read_bytes()
    path.symlink_to(elsewhere)
    assert_claim_refused(directory, "is a link")
    assert elsewhere.read_bytes() == before


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666])
def test_outbox_writable_by_others_is_refused(directory, bits):
    orphaned_outbox(directory).chmod(bits)
    assert_claim_refused(directory, "can be written by others")


def test_outbox_of_another_user_is_refused(directory, monkeypatch):
    path = orphaned_outbox(directory)
    belongs_to_another(path, monkeypatch)
    # Only root can give a file away. Other users pretend that all files are another user's.
    with pytest.raises(OutboxError, match="belongs to another user"):
        directory.claim(*directory.entries())


def test_unsafe_lock_is_refused(directory, monkeypatch):
    path = orphaned_outbox(directory)
    lock_of(path).chmod(0o666)
    assert_claim_refused(directory, r"\.lock can be written by others")


def test_lock_that_is_a_link_is_refused(directory, tmp_path):
    path = orphaned_outbox(directory)
    elsewhere = tmp_path / "lock"
    lock_of(path).rename(elsewhere)
    lock_of(path).symlink_to(elsewhere)
    (entry,) = directory.entries()
    with pytest.raises(OutboxError, match="is a link"):
        directory.claim(entry)


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_log_that_is_a_link_is_refused(directory, tmp_path, suffix):
    """SQLite would follow it, and write to its target."""
    path = orphaned_outbox(directory)
    elsewhere = tmp_path / "precious"
    elsewhere.write_bytes(b"precious")
    log = Path(f"{path}{suffix}")
    log.unlink()
    log.symlink_to(elsewhere)
    assert_claim_refused(directory, "is a link")
    assert elsewhere.read_bytes() == b"precious"


# Release.


def test_empty_outbox_is_deleted(directory):
    locked = directory.create()
    locked.outbox.enqueue([artifact("a")])
    locked.outbox.acknowledge([row.number for row in locked.outbox.peek(10)])
    locked.release()
    assert files(directory) == []


def test_outbox_with_waiting_rows_is_kept(directory):
    locked = directory.create()
    locked.outbox.enqueue([artifact("a")])
    locked.release()
    (entry,) = directory.entries()
    assert not entry.owner_alive
    claimed = directory.claim(entry)
    assert names(claimed.outbox) == ["a"]
    close(claimed)


def test_outbox_with_rejected_rows_is_kept(directory):
    locked = directory.create()
    locked.outbox.enqueue([artifact("a")])
    locked.outbox.reject([locked.outbox.peek(1)[0].number], "never")
    locked.release()
    assert len(directory.entries()) == 1


def test_outbox_with_open_search_is_kept(directory):
    locked = directory.create()
    opens = OpenParentRun(
        search_id="s", destination=Destination(tracking_uri="u"), name="n", start_ms=1
    )
    locked.outbox.enqueue([opens])
    locked.outbox.acknowledge([locked.outbox.peek(1)[0].number])
    locked.release()
    (entry,) = directory.entries()
    claimed = directory.claim(entry)
    assert claimed.outbox.open_searches() == ["s"]
    claimed.outbox.enqueue([CloseSearch(search_id="s")])
    close(claimed)


# Location.


def test_directory_of_the_environment(tmp_path):
    directory = OutboxDirectory.for_user({"TRACKMLLIB_HOME": str(tmp_path / "mine")})
    assert directory.path == tmp_path / "mine" / "outbox"


def test_tilde_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    directory = OutboxDirectory.for_user({"TRACKMLLIB_HOME": "~/state"})
    assert directory.path == tmp_path / "state" / "outbox"


def test_relative_directory_becomes_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    directory = OutboxDirectory.for_user({"TRACKMLLIB_HOME": "here"})
    monkeypatch.chdir("/")
    assert directory.path == tmp_path / "here" / "outbox"


@pytest.mark.parametrize("environ", [{}, {"TRACKMLLIB_HOME": ""}])
def test_default_is_the_platforms_state_directory(monkeypatch, tmp_path, environ):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    folder = OutboxDirectory.for_user(environ).path
    assert folder == platformdirs.user_state_path("trackmllib") / "outbox"
    assert folder.is_relative_to(tmp_path)


def test_look_creates_no_directory(directory):
    assert directory.entries() == []
    assert directory.damaged() == []
    assert not directory.path.exists()


def test_this_process_is_of_this_machine_and_boot():
    owner = this_process()
    assert owner.pid == os.getpid()
    assert owner.is_of_this_machine()
    assert owner.is_of_this_boot()
