"""Outbox files with damaged pages are renamed, kept and listed; damaged texts are rejected."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from trackmllib.domain.operations import LogArtifact
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.outbox.integrity import DamagedOutbox
from trackmllib.outbox.orphaned import OrphanedOutbox
from trackmllib.runtime.recovery import recover

ROWS = 3000
PAGE = 4096

DRIVER = """
import os, sqlite3, sys
from pathlib import Path
from trackmllib.domain.events import (FitStarted)
from trackmllib.domain.operations import (CreateChildRun, Destination, LogArtifact, OpenParentRun)
from trackmllib.outbox.directory import OutboxDirectory

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
held = OutboxDirectory(folder).create()
destination = Destination(tracking_uri="http://server")
held.outbox.enqueue(
    [OpenParentRun(search_id="s", destination=destination, name="name", start_ms=1)],
    FitStarted(search_id="s", time_ms=1, candidate=0, fold=0),
)
for n in range(1, rows):
    run = {"search_id": "s", "candidate": n % 7}
    made = CreateChildRun(**run, name="child", start_ms=n, tags=())
    file = LogArtifact(**run, file_name=f"{n}", text="x" * (n % 300))
    held.outbox.enqueue(
        [made if n <= 7 else file],
        FitStarted(search_id="s", time_ms=n, candidate=n % 7, fold=0),
    )
held.outbox.save_registry("s", {f"name{n}": "y" * 50 for n in range(300)})
if sys.argv[3] == "checkpointed":
    other = sqlite3.connect(held.outbox.path)
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
os.kill(os.getpid(), 9)
"""


def left_by_killed_process(folder: Path, rows: int, how: str) -> Path:
    driver = subprocess.run([sys.executable, "-c", DRIVER, str(folder), str(rows), how])
    assert driver.returncode == -9
    (path,) = folder.glob("*.db")
    return path


@pytest.fixture(scope="module", params=["checkpointed", "in the log"])
def killed(request, tmp_path_factory) -> Path:
    """An outbox of a killed process, its rows in the file itself or in the write-ahead log."""
    folder = tmp_path_factory.mktemp("killed") / "outbox"
    left_by_killed_process(folder, ROWS, request.param)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The same as one file: all rows moved out of the log."""
    folder = tmp_path_factory.mktemp("whole") / "outbox"
    path = left_by_killed_process(folder, ROWS, "checkpointed")
    assert path.stat().st_size > 100 * PAGE
    Path(f"{path}-wal").unlink(missing_ok=True)
    Path(f"{path}-shm").unlink(missing_ok=True)
    return folder


def copy_of(folder: Path, to_folder: Path) -> tuple[OutboxDirectory, Path]:
    shutil.copytree(folder, to_folder / "outbox")
    directory = OutboxDirectory(to_folder / "outbox")
    (path,) = directory.path.glob("*.db")
    return directory, path


def claim(directory: OutboxDirectory):
    """The only outbox, and the numbers of its rows that can be read."""
    (entry,) = directory.entries()
    held = directory.claim(entry)
    assert held is not None
    numbers = set()
    while rows := held.outbox.peek(10_000):
        numbers.update(row.number for row in rows)
        held.outbox.acknowledge([row.number for row in rows])
    assert held.outbox.waiting() == 0
    return held, numbers


def assert_usable(held) -> None:
    held.outbox.enqueue([LogArtifact(search_id="new", candidate=0, file_name="new", text="")])
    (row,) = held.outbox.peek(10)
    assert row.operation.file_name == "new"
    held.outbox.acknowledge([row.number])
    assert held.outbox.waiting() == 0
    held.outbox.close()
    held.lock.release()


def assert_renamed_and_kept(directory: OutboxDirectory, path: Path, damaged: bytes) -> Path:
    """Nothing of the file is delivered, its bytes are kept, and a new outbox can be used."""
    (entry,) = directory.entries()
    with pytest.raises(DamagedOutbox) as raised:
        directory.claim(entry)
    (kept,) = directory.damaged()
    assert kept.read_bytes() == damaged
    assert kept.stat().st_mode & 0o777 == 0o600
    message = str(raised.value)
    assert message.startswith(f"The outbox {path} is damaged (")
    assert "nothing of it is delivered: its runs may stay RUNNING in MLflow" in message
    assert f"The file is kept as {kept}; `trackmllib status` lists it" in message
    assert not path.exists()
    assert directory.is_empty()
    assert directory.entries() == []
    assert_usable(directory.create())
    return kept


def zero(path: Path, page: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    return bytes(data)


def pages(path: Path, *kinds: int) -> list[int]:
    """The pages after the first that begin with such a byte: 13 for rows, 10 for an index."""
    data = path.read_bytes()
    return [n for n in range(1, len(data) // PAGE) if data[n * PAGE] in kinds]


def test_outbox_of_killed_process_is_sound(killed, tmp_path):
    directory, _ = copy_of(killed, tmp_path)
    held, numbers = claim(directory)
    assert numbers == set(range(1, ROWS + 1))
    assert held.warning == ""
    assert directory.damaged() == []
    assert len(held.outbox.events("s")) == ROWS
    assert len(held.outbox.load_registry("s")) == 300
    assert_usable(held)


def test_damaged_text_in_sound_file_is_rejected(whole, tmp_path):
    """SQLite checks pages, but not the texts in them."""
    directory, path = copy_of(whole, tmp_path)
    data = path.read_bytes()
    at = data.rindex(b"x" * 250)
    path.write_bytes(data[:at] + bytes(50) + data[at + 50 :])
    held, numbers = claim(directory)
    assert f"Damaged texts in the outbox {path}: 1." in held.warning
    assert len(numbers) == ROWS - 1
    assert directory.damaged() == []
    assert_usable(held)
    # The text is kept, and the next process does not warn of it again.
    (entry,) = directory.entries()
    assert directory.claim(entry).warning == ""
    with sqlite3.connect(path) as kept:
        (reason,) = kept.execute("SELECT reason FROM rejected").fetchone()
    assert "not readable" in reason


def test_file_with_text_that_is_not_utf8_is_kept(whole, tmp_path):
    directory, path = copy_of(whole, tmp_path)
    data = path.read_bytes()
    at = data.rindex(b"x" * 250)
    damaged = data[:at] + b"\xff" * 50 + data[at + 50 :]
    path.write_bytes(damaged)
    assert_renamed_and_kept(directory, path, damaged)


@pytest.mark.parametrize("share", [0.5, 0.67])
@pytest.mark.parametrize("more", [0, 1234])
def test_cut_file_is_kept(whole, tmp_path, share, more):
    directory, path = copy_of(whole, tmp_path)
    cut = path.read_bytes()[: int(path.stat().st_size * share) // PAGE * PAGE + more]
    path.write_bytes(cut)
    assert_renamed_and_kept(directory, path, cut)


@pytest.mark.parametrize("place", [0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98])
def test_file_with_zeroed_page_of_rows_is_kept(whole, tmp_path, place):
    directory, path = copy_of(whole, tmp_path)
    leaves = pages(path, 13)
    damaged = zero(path, leaves[int(len(leaves) * place)])
    assert_renamed_and_kept(directory, path, damaged)


@pytest.mark.parametrize("part", range(10))
def test_file_with_any_other_zeroed_page_is_kept_or_sound(whole, tmp_path, part):
    """Inner pages of tables, pages of indexes, and free pages, which hold nothing."""
    directory, path = copy_of(whole, tmp_path)
    others = sorted(set(range(1, path.stat().st_size // PAGE)) - set(pages(path, 13)))
    damaged = zero(path, others[part * len(others) // 10])
    try:
        held, numbers = claim(directory)
    except DamagedOutbox:
        (kept,) = directory.damaged()
        assert kept.read_bytes() == damaged
        assert_usable(directory.create())
    else:
        assert held.warning == ""
        assert directory.damaged() == []
        assert numbers == set(range(1, ROWS + 1))
        assert_usable(held)


def test_file_with_damaged_index_is_kept(whole, tmp_path):
    directory, path = copy_of(whole, tmp_path)
    for page in pages(path, 10)[:3]:
        damaged = zero(path, page)
    assert_renamed_and_kept(directory, path, damaged)


@pytest.mark.parametrize(
    "data",
    [b"this is not a database at all\n" * 1000, bytes(range(256)) * 64, bytes(8 * PAGE)],
    ids=["text", "bytes", "zeros"],
)
def test_file_that_is_no_database_is_kept(whole, tmp_path, data):
    directory, path = copy_of(whole, tmp_path)
    path.write_bytes(data)
    assert_renamed_and_kept(directory, path, data)


def test_file_with_zeroed_header_is_kept(whole, tmp_path):
    directory, path = copy_of(whole, tmp_path)
    data = bytes(100) + path.read_bytes()[100:]
    path.write_bytes(data)
    assert_renamed_and_kept(directory, path, data)


@pytest.mark.parametrize("data", [b"", b"x"])
def test_empty_file_is_an_outbox_without_rows(whole, tmp_path, data):
    """As a process leaves it that is killed before it creates the tables.

    SQLite takes a file of one byte for an empty one, too.
    """
    directory, path = copy_of(whole, tmp_path)
    path.write_bytes(data)
    held, numbers = claim(directory)
    assert numbers == set()
    assert directory.damaged() == []
    assert_usable(held)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.9, 0.999])
def test_rows_before_the_cut_of_a_log_are_delivered(tmp_path, part):
    left_by_killed_process(tmp_path / "killed", 300, "in the log")
    directory, path = copy_of(tmp_path / "killed", tmp_path)
    log = Path(f"{path}-wal")
    data = log.read_bytes()
    log.write_bytes(data[: int(len(data) * part)])
    held, numbers = claim(directory)
    assert numbers == set(range(1, len(numbers) + 1))
    assert len(numbers) >= 300 * part * 0.7 - 20
    assert_usable(held)


def test_rows_before_the_zeroed_page_of_a_log_are_delivered(tmp_path):
    left_by_killed_process(tmp_path / "killed", 300, "in the log")
    directory, path = copy_of(tmp_path / "killed", tmp_path)
    log = Path(f"{path}-wal")
    data = bytearray(log.read_bytes())
    half = len(data) // 2
    data[half : half + PAGE] = bytes(PAGE)
    log.write_bytes(data)
    held, numbers = claim(directory)
    assert numbers == set(range(1, len(numbers) + 1))
    assert 60 < len(numbers) < 300
    assert_usable(held)


def test_second_damaged_file_is_kept_beside_the_first(whole, tmp_path):
    directory, path = copy_of(whole, tmp_path)
    lock = Path(f"{path}.lock").read_bytes()
    for _ in range(2):
        path.write_bytes(b"no database\n" * 100)
        Path(f"{path}.lock").write_bytes(lock)
        (entry,) = directory.entries()
        with pytest.raises(DamagedOutbox):
            directory.claim(entry)
    assert len(directory.damaged()) == 2


def test_recovery_warns_of_damaged_file_and_delivers_the_others(whole, tmp_path):
    directory, path = copy_of(whole, tmp_path)
    zero(path, pages(path, 13)[5])
    sound = directory.create()
    sound.outbox.enqueue([LogArtifact(search_id="other", candidate=0, file_name="a", text="")])
    sound.outbox.close()
    sound.lock.release()
    orphaned, warnings = OrphanedOutbox(pytest.fail), []
    recover(directory, orphaned, warnings.append)
    (warning,) = warnings
    (kept,) = directory.damaged()
    assert f"The outbox {path} is damaged" in warning
    assert str(kept) in warning
    assert [row.operation.search_id for row in orphaned.peek(10)] == ["other"]
    orphaned.release()
    # Later processes neither warn again nor touch the damaged file.
    recover(directory, OrphanedOutbox(pytest.fail), pytest.fail)
    assert directory.damaged() == [kept]
