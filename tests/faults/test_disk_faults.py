"""Faults 8 and 9: full, unwritable and damaged disks."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import sys

import pytest

from support.driver_machine import Machine, compare
from support.mlflow_server import free_port, start_server, stop_server


def test_8_full_disk(tmp_path, server_uri, figures):
    """Files are limited to 100 KiB: one warning, and recording continues in memory."""
    port = free_port()
    machine = Machine(tmp_path, f"http://127.0.0.1:{port}")
    driver = machine.driver(
        limit_bytes=100 * 1024, candidates=40, fit_seconds=0.2, autolog={"flush_timeout": 90}
    )
    # The server starts long after the disk is full.
    driver.wait_until(lambda line: "warning" in line)
    server = start_server(tmp_path, port)
    try:
        driver.finish()
        of_disk = [text for text in driver.warnings() if "cannot be used" in text]
        assert len(of_disk) == 1, driver.warnings()
        assert "New records stay in memory" in of_disk[0]
        report = compare(machine.store, driver)
        assert report.printed == 120
        assert report.is_clean(), report
        assert report.status == {"FINISHED": 41}
        assert machine.files() == []
    finally:
        stop_server(server)
    figures["8 disk full"] = f"one warning; {report.printed} scores, 0 lost"


def test_8_unwritable_home(tmp_path, server_uri, figures):
    machine = Machine(tmp_path, server_uri)
    (tmp_path / "home").write_text("a file, where a folder should be")
    driver = machine.driver(autolog={"flush_timeout": 60}).finish()
    (warning,) = driver.warnings()
    assert "cannot be created: File exists" in warning
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 11}
    figures["8 no folder"] = f"one warning; {report.printed} scores, 0 lost"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no seccomp")
def test_8_file_system_without_locks(tmp_path, server_uri):
    machine = Machine(tmp_path, server_uri)
    driver = machine.driver_without_locks(errno.ENOLCK, autolog={"flush_timeout": 60}).finish()
    (warning,) = driver.warnings()
    assert "its file system has no locks (No locks available)" in warning
    assert "New records stay in memory" in warning
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 11}
    assert machine.files() == []


def test_8_home_without_folder(tmp_path, server_uri):
    machine = Machine(tmp_path, server_uri, more_environ={"TRACKMLLIB_HOME": "~nosuchuser/x"})
    driver = machine.driver(autolog={"flush_timeout": 60}).finish()
    (warning,) = driver.warnings()
    assert warning.startswith(
        "TRACKMLLIB_HOME is '~nosuchuser/x', but there is no such home directory"
    )
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 11}


@pytest.fixture(scope="module")
def orphaned_outbox(tmp_path_factory):
    """Outbox of a driver that never reached its server."""
    machine = Machine(tmp_path_factory.mktemp("left"), "http://127.0.0.1:1")
    driver = machine.driver(
        candidates=60, fit_seconds=0.0, autolog={"flush_timeout": 0}, in_one_run=False
    ).finish()
    (path,) = (machine.home / "outbox").glob("*.db")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return machine, driver


def zero_page_of_scores(data: bytes) -> bytes:
    """Zero a page that holds scores."""
    at = data.index(b'"metrics"') // 4096 * 4096
    return data[:at] + bytes(4096) + data[at + 4096 :]


DAMAGES = {
    "cut": lambda data: data[: len(data) * 2 // 3],
    "zeroed page": zero_page_of_scores,
    "no database": lambda data: b"this is not what it was" * 100,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_9_damaged_outbox(orphaned_outbox, tmp_path, server_uri, damage, figures):
    """The next process warns once, renames and keeps the file, and delivers nothing of it."""
    made, driver = orphaned_outbox
    machine = Machine(tmp_path, server_uri)
    shutil.copytree(made.home, machine.home)
    machine.redirect_outbox(made)
    (path,) = (machine.home / "outbox").glob("*.db")
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    later = machine.driver(candidates=2, seed=77, stop_at_fits=[2]).ready()
    later.wait_until(lambda line: "warning" in line)
    machine.release(2)
    (warning,) = later.finish().warnings()
    assert f"The outbox {path} is damaged" in warning
    (kept,) = machine.status()["damaged"]
    assert kept in warning
    with open(kept, "rb") as file:
        assert file.read() == DAMAGES[damage](whole)
    machine.sync()
    report = compare(machine.store, driver, later)
    # The later search is complete.
    assert report.printed == 186
    assert len(report.lost) == 180, report
    assert not report.doubled, report
    assert not report.running, report
    assert report.status == {"FINISHED": 3}
    figures[f"9 outbox damaged: {damage}"] = "one warning; the file is kept, and not delivered"
