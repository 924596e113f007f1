"""Faults 8 and 9: what disks do; and what a fork must not do."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import sys

import pytest

from conftest import free_port, start_server, stop_server
from faults.scene import Scene, compare


def test_8_the_disk_is_full(tmp_path, server_uri, figures):
    """No file grows beyond 100 KiB: one warning, and the training goes on, recorded in memory."""
    port = free_port()
    scene = Scene(tmp_path, f"http://127.0.0.1:{port}")
    driver = scene.driver(
        limit_bytes=100 * 1024, candidates=40, fit_seconds=0.2, autolog={"flush_timeout": 90}
    )
    # The server comes when the disk has long been full.
    driver.wait_until(lambda line: "warning" in line)
    server = start_server(tmp_path, port)
    try:
        driver.finish()
        of_disk = [text for text in driver.warnings() if "cannot be used" in text]
        assert len(of_disk) == 1, driver.warnings()
        assert "kept in memory" in of_disk[0]
        report = compare(scene.store, driver)
        assert report.said == 120
        assert report.is_clean(), report
        assert report.status == {"FINISHED": 41}
        assert scene.files() == []
    finally:
        stop_server(server)
    figures["8 disk full"] = f"one warning; {report.said} scores, 0 lost"


def test_8_the_home_cannot_be_written(tmp_path, server_uri, figures):
    scene = Scene(tmp_path, server_uri)
    (tmp_path / "home").write_text("a file, where a folder should be")
    driver = scene.driver(autolog={"flush_timeout": 60}).finish()
    (warning,) = driver.warnings()
    assert "cannot be made: File exists" in warning
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 11}
    figures["8 no folder"] = f"one warning; {report.said} scores, 0 lost"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no seccomp")
def test_8_file_system_without_locks(tmp_path, server_uri):
    scene = Scene(tmp_path, server_uri)
    driver = scene.driver_without_locks(errno.ENOLCK, autolog={"flush_timeout": 60}).finish()
    (warning,) = driver.warnings()
    assert "its file system has no locks (No locks available)" in warning
    assert "kept in memory" in warning
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 11}
    assert scene.files() == []


def test_8_home_without_folder(tmp_path, server_uri):
    scene = Scene(tmp_path, server_uri, more_environ={"TRACKMLLIB_HOME": "~nosuchuser/x"})
    driver = scene.driver(autolog={"flush_timeout": 60}).finish()
    (warning,) = driver.warnings()
    assert warning.startswith(
        "TRACKMLLIB_HOME is '~nosuchuser/x', but there is no such home folder"
    )
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    assert report.status == {"FINISHED": 11}


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory):
    """What a driver leaves that never saw its server; and a server for it."""
    port = free_port()
    scene = Scene(tmp_path_factory.mktemp("left"), f"http://127.0.0.1:{port}")
    driver = scene.driver(
        candidates=60, fit_seconds=0.0, autolog={"flush_timeout": 0}, in_one_run=False
    ).finish()
    (path,) = (scene.home / "outbox").glob("*.db")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return scene, driver, port


def with_a_zeroed_page(data: bytes) -> bytes:
    """That of some scores."""
    at = data.index(b'"metrics"') // 4096 * 4096
    return data[:at] + bytes(4096) + data[at + 4096 :]


DAMAGES = {
    "cut": lambda data: data[: len(data) * 2 // 3],
    "zeroed page": with_a_zeroed_page,
    "no database": lambda data: b"this is not what it was" * 100,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_9_a_damaged_outbox(left_behind, tmp_path, damage, figures):
    """Set aside and kept, with one warning by the next process, which delivers what can be read."""
    made, driver, port = left_behind
    scene = Scene(tmp_path, made.uri, made.experiment)
    shutil.copytree(made.home, scene.home)
    (path,) = (scene.home / "outbox").glob("*.db")
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    server = start_server(tmp_path, port)
    try:
        later = scene.driver(candidates=2, fit_seconds=1.0, seed=77).finish()
        (warning,) = later.warnings()
        assert f"The outbox {path} is damaged" in warning
        (kept,) = scene.status()["damaged"]
        assert kept in warning
        with open(kept, "rb") as file:
            assert file.read() == DAMAGES[damage](whole)
        scene.sync()
        report = compare(scene.store, driver, later)
        # What could not be read is lost with its page; nothing else is, and nothing is there twice.
        assert report.said == 186
        assert not report.doubled, report
        assert not report.running, report
        if damage != "no database":
            assert len(report.lost) < (20 if damage == "zeroed page" else 90), report
        figures[f"9 outbox damaged: {damage}"] = (
            f"one warning; {180 - len(report.lost)} of 180 scores delivered"
        )
    finally:
        stop_server(server)
