"""A damaged outbox: kept under another name, never deleted, and what can be read is delivered."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from trackmllib.operations import LogArtifact
from trackmllib.outbox.home import Home

ROWS = 3000
PAGE = 4096

DRIVER = """
import os, sqlite3, sys
from pathlib import Path
from trackmllib.events import CellStarted
from trackmllib.operations import CreateChildRun, Destination, LogArtifact, OpenMainRun
from trackmllib.outbox.home import Home

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
held = Home(folder).create()
destination = Destination(tracking_uri="http://server")
held.outbox.put(
    [OpenMainRun(search_id="s", destination=destination, name="name", start_ms=1)],
    CellStarted(search_id="s", time_ms=1, candidate=0, fold=0),
)
for n in range(1, rows):
    run = {"search_id": "s", "candidate": n % 7}
    made = CreateChildRun(**run, name="child", start_ms=n, tags=())
    file = LogArtifact(**run, file_name=f"{n}", text="x" * (n % 300))
    held.outbox.put(
        [made if n <= 7 else file],
        CellStarted(search_id="s", time_ms=n, candidate=n % 7, fold=0),
    )
held.outbox.remember("s", {f"fact{n}": "y" * 50 for n in range(293)})
# Of each child run it is known by this too, whatever page is damaged.
held.outbox.remember("s", {f"child/{n}": "run" for n in range(7)})
if sys.argv[3] == "checkpointed":
    other = sqlite3.connect(held.outbox.path)
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
os.kill(os.getpid(), 9)
"""


def left_by_a_killed_process(folder: Path, rows: int, how: str) -> Path:
    driver = subprocess.run([sys.executable, "-c", DRIVER, str(folder), str(rows), how])
    assert driver.returncode == -9
    (path,) = folder.glob("*.db")
    return path


@pytest.fixture(scope="module", params=["checkpointed", "in the log"])
def killed(request, tmp_path_factory) -> Path:
    """An outbox of a killed process, its rows in the file itself or in the write-ahead log."""
    folder = tmp_path_factory.mktemp("killed") / "outbox"
    left_by_a_killed_process(folder, ROWS, request.param)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The same as one file: all rows moved out of the log."""
    folder = tmp_path_factory.mktemp("whole") / "outbox"
    path = left_by_a_killed_process(folder, ROWS, "checkpointed")
    log = Path(f"{path}-wal")
    assert path.stat().st_size > 100 * PAGE
    log.unlink(missing_ok=True)
    Path(f"{path}-shm").unlink(missing_ok=True)
    return folder


def copy_of(folder: Path, to_folder: Path) -> tuple[Home, Path]:
    shutil.copytree(folder, to_folder / "outbox")
    home = Home(to_folder / "outbox")
    (path,) = home.folder.glob("*.db")
    return home, path


def taken(home: Home):
    """The outbox, taken over, and the numbers of its rows that can be read."""
    (entry,) = home.entries()
    held = home.take(entry)
    assert held is not None
    numbers = set()
    while rows := held.outbox.peek(10_000):
        numbers.update(row.number for row in rows)
        held.outbox.acknowledge([row.number for row in rows])
    assert held.outbox.waiting() == 0
    return held, numbers


def assert_it_works(held) -> None:
    held.outbox.put([LogArtifact(search_id="new", candidate=0, file_name="new", text="")])
    (row,) = held.outbox.peek(10)
    assert row.operation.file_name == "new"
    held.outbox.acknowledge([row.number])
    assert held.outbox.waiting() == 0
    held.outbox.close()
    held.lock.release()


def assert_set_aside(home: Home, held, damaged: bytes) -> None:
    (aside,) = home.damaged()
    assert aside.read_bytes() == damaged
    assert str(aside) in held.warning
    assert str(held.outbox.path) in held.warning
    assert aside.stat().st_mode & 0o777 == 0o600


def test_a_text_that_is_damaged_is_told_too(whole, tmp_path):
    """SQLite knows of pages and not of what texts should say."""
    home, path = copy_of(whole, tmp_path)
    data = path.read_bytes()
    at = data.rindex(b"x" * 250)
    path.write_bytes(data[:at] + bytes(50) + data[at + 50 :])
    held, numbers = taken(home)
    assert f"Damaged texts in the outbox {path}: 1." in held.warning
    assert len(numbers) == ROWS - 1
    assert home.damaged() == []
    # It is kept, and the next one is not told again.
    assert_it_works(held)
    (entry,) = home.entries()
    again = home.take(entry)
    assert again.warning == ""
    with sqlite3.connect(path) as kept:
        (reason,) = kept.execute("SELECT reason FROM refused").fetchone()
    assert "not readable" in reason


def test_what_is_no_text_at_all_is_left_out(whole, tmp_path):
    home, path = copy_of(whole, tmp_path)
    data = path.read_bytes()
    at = data.rindex(b"x" * 250)
    damaged = data[:at] + b"\xff" * 50 + data[at + 50 :]
    path.write_bytes(damaged)
    held, numbers = taken(home)
    assert_set_aside(home, held, damaged)
    assert len(numbers) == ROWS - 1
    assert_it_works(held)


def test_what_a_killed_process_left_is_whole(killed, tmp_path):
    home, _ = copy_of(killed, tmp_path)
    held, numbers = taken(home)
    assert numbers == set(range(1, ROWS + 1))
    assert held.warning == ""
    assert home.damaged() == []
    assert len(held.outbox.events("s")) == ROWS
    assert len(held.outbox.recall("s")) == 300
    assert_it_works(held)


def test_of_a_file_cut_to_half_the_rest_is_delivered(whole, tmp_path):
    home, path = copy_of(whole, tmp_path)
    cut = path.read_bytes()[: path.stat().st_size // 2 // PAGE * PAGE]
    path.write_bytes(cut)
    held, numbers = taken(home)
    assert_set_aside(home, held, cut)
    # Tables grow side by side: half of the file holds about half of the rows.
    assert len(numbers) > ROWS * 0.3
    assert f"{len(numbers):,} operations" in held.warning
    assert_it_works(held)


def test_of_a_file_cut_within_a_page_the_rest_is_delivered(whole, tmp_path):
    home, path = copy_of(whole, tmp_path)
    cut = path.read_bytes()[: path.stat().st_size * 2 // 3 // PAGE * PAGE + 1234]
    path.write_bytes(cut)
    held, numbers = taken(home)
    assert_set_aside(home, held, cut)
    assert len(numbers) > ROWS * 0.4
    assert_it_works(held)


def leaf_pages(path: Path) -> list[int]:
    """The pages that hold rows of a table, and nothing else: the first byte tells."""
    data = path.read_bytes()
    return [n for n in range(1, len(data) // PAGE) if data[n * PAGE] == 13]


@pytest.mark.parametrize("place", [0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98])
def test_a_zeroed_page_hides_its_own_rows_only(whole, tmp_path, place):
    home, path = copy_of(whole, tmp_path)
    leaves = leaf_pages(path)
    data = bytearray(path.read_bytes())
    page = leaves[int(len(leaves) * place)]
    data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    held, numbers = taken(home)
    assert_set_aside(home, held, bytes(data))
    assert len(numbers) >= ROWS * 0.9
    assert numbers <= set(range(1, ROWS + 1))
    assert held.outbox.searches() in (["s"], [])
    assert_it_works(held)


@pytest.mark.parametrize("part", range(10))
def test_whatever_page_is_zeroed_a_new_outbox_is_begun(whole, tmp_path, part):
    """Also inner pages of tables, indexes, and lists of free pages: no exception, nothing gone."""
    home, path = copy_of(whole, tmp_path)
    data = bytearray(path.read_bytes())
    others = [n for n in range(1, len(data) // PAGE) if data[n * PAGE] != 13]
    page = others[part * len(others) // 10]
    data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    held, numbers = taken(home)
    if home.damaged():
        assert_set_aside(home, held, bytes(data))
    else:
        assert held.warning == ""
        assert numbers == set(range(1, ROWS + 1))
    assert_it_works(held)


def test_an_index_that_is_broken_costs_no_row(whole, tmp_path):
    home, path = copy_of(whole, tmp_path)
    data = bytearray(path.read_bytes())
    of_index = [n for n in range(1, len(data) // PAGE) if data[n * PAGE] == 10]
    for page in of_index[:3]:
        data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    held, numbers = taken(home)
    assert_set_aside(home, held, bytes(data))
    assert numbers == set(range(1, ROWS + 1))
    assert_it_works(held)


@pytest.mark.parametrize(
    "data",
    [b"this is not a database at all\n" * 1000, bytes(range(256)) * 64, bytes(8 * PAGE)],
    ids=["text", "bytes", "zeros"],
)
def test_a_file_that_is_no_database_is_set_aside(whole, tmp_path, data):
    home, path = copy_of(whole, tmp_path)
    path.write_bytes(data)
    held, numbers = taken(home)
    assert numbers == set()
    assert_set_aside(home, held, data)
    assert_it_works(held)


@pytest.mark.parametrize("data", [b"", b"x"])
def test_an_empty_file_is_an_outbox_with_nothing_in_it(whole, tmp_path, data):
    """So it lies there when its process was killed before it had made the tables; a file of one
    byte is an empty one for SQLite too.
    """
    home, path = copy_of(whole, tmp_path)
    path.write_bytes(data)
    held, numbers = taken(home)
    assert numbers == set()
    assert home.damaged() == []
    assert_it_works(held)


def test_a_zeroed_header_is_set_aside(whole, tmp_path):
    home, path = copy_of(whole, tmp_path)
    data = bytes(100) + path.read_bytes()[100:]
    path.write_bytes(data)
    held, _ = taken(home)
    assert_set_aside(home, held, data)
    assert_it_works(held)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.9, 0.999])
def test_of_a_log_that_was_cut_all_before_the_cut_is_delivered(tmp_path, part):
    left_by_a_killed_process(tmp_path / "killed", 300, "in the log")
    home, path = copy_of(tmp_path / "killed", tmp_path)
    log = Path(f"{path}-wal")
    data = log.read_bytes()
    log.write_bytes(data[: int(len(data) * part)])
    held, numbers = taken(home)
    assert numbers == set(range(1, len(numbers) + 1))
    assert len(numbers) >= 300 * part * 0.7 - 20
    assert_it_works(held)


def test_a_page_of_the_log_that_is_zeroed_hides_only_what_came_after(tmp_path):
    left_by_a_killed_process(tmp_path / "killed", 300, "in the log")
    home, path = copy_of(tmp_path / "killed", tmp_path)
    log = Path(f"{path}-wal")
    data = bytearray(log.read_bytes())
    half = len(data) // 2
    data[half : half + PAGE] = bytes(PAGE)
    log.write_bytes(data)
    held, numbers = taken(home)
    assert numbers == set(range(1, len(numbers) + 1))
    assert 60 < len(numbers) < 300
    assert_it_works(held)


def test_what_was_salvaged_may_have_been_sent_before(whole, tmp_path):
    """That it was sent may have been written on a page that is gone."""
    home, path = copy_of(whole, tmp_path)
    data = bytearray(path.read_bytes())
    leaves = leaf_pages(path)
    page = leaves[len(leaves) // 2]
    data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    path.write_bytes(data)
    (entry,) = home.entries()
    held = home.take(entry)
    assert home.damaged() != []
    assert all(row.again for row in held.outbox.peek(10))
    held.lock.release()
    held.outbox.close()


def test_a_file_damaged_twice_is_kept_twice(whole, tmp_path):
    home, path = copy_of(whole, tmp_path)
    for _ in range(2):
        path.write_bytes(b"no database\n" * 100)
        held, _ = taken(home)
        held.outbox.close()
        held.lock.release()
    assert len(home.damaged()) == 2
