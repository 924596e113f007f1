"""Reports of ended searches, logged on their parent runs."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

import mlflow
import pytest

from support.commands import environ, finished
from support.mlflow_reader import Store
from support.search_events import numbered_search
from support.sqlite_store import sqlite_store
from trackmllib.config.settings import Settings
from trackmllib.domain.operations import Destination
from trackmllib.exceptions import Unavailable
from trackmllib.outbox.directory import OutboxDirectory
from trackmllib.runtime import report_process, report_queue
from trackmllib.runtime.session import Session

pytestmark = pytest.mark.versions

EXPERIMENT = "reports"


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(sqlite_store(tmp_path), EXPERIMENT)
    store.client.create_experiment(EXPERIMENT, (tmp_path / "artifacts").as_uri())
    return store


def new_session(store: Store, home: Path, run_id: str | None = None, **settings) -> Session:
    return Session(
        Settings(**{"strict": True, "progress": False, **settings}),
        directory=OutboxDirectory(home),
        destination=lambda: Destination(
            tracking_uri=store.uri,
            experiment_id=store.experiment_id,
            run_id=run_id,
            owned=run_id is None,
        ),
    )


def play(session: Session, search_id: str = "s", candidates: int = 2) -> None:
    for event in numbered_search(search_id, candidates):
        session.callbacks.emit(event)


def warnings_in(caplog) -> list[str]:
    """The warnings of trackmllib."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "trackmllib" and record.levelno >= logging.WARNING
    ]


def test_report_and_figure_are_on_parent_run(store, tmp_path):
    session = new_session(store, tmp_path / "home")
    play(session)
    # fit() doesn't wait for the report.
    assert "report.html" not in store.files(store.only_parent_run())
    assert session.flush(60)
    parent = store.only_parent_run()
    assert {"report.html", "report.png"} <= set(store.files(parent))
    assert parent.info.status == "FINISHED"
    page = store.text(parent, "trackmllib/report.html")
    assert "maxDepth=1, maxBins=1</" in page
    path = store.client.download_artifacts(parent.info.run_id, "trackmllib/report.png")
    assert Path(path).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_searches_of_one_run_have_reports_of_their_own(store, tmp_path):
    run = store.client.create_run(store.experiment_id)
    session = new_session(store, tmp_path / "home", run.info.run_id)
    play(session, "first")
    play(session, "second")
    assert session.flush(60)
    for folder in ("trackmllib", "trackmllib_second"):
        assert "report.html" in store.files(run, folder)
    assert store.client.get_run(run.info.run_id).info.status == "RUNNING"


@pytest.mark.slow
def test_report_stays_on_disk_while_server_is_unreachable(store, tmp_path, monkeypatch):
    from trackmllib.tracking.executor import MlflowExecutor

    def away(self, operation, redelivered=False):
        raise Unavailable("away")

    monkeypatch.setattr("trackmllib.runtime.search_reports.RUN_IDS_SECONDS", 0.0)
    session = new_session(store, tmp_path / "home", wait=False, flush_timeout=0.0, strict=False)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowExecutor, "apply", away)
        play(session)
        session.reports.wait(60)
        assert not session.flush(0.1)
    assert session.flush(60)
    assert "report.html" in store.files(store.only_parent_run())


def test_missing_package_is_one_warning_that_says_what_to_install(
    store, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(report_queue, "_is_available", lambda module: module != "jinja2")
    session = new_session(store, tmp_path / "home")
    play(session, "first")
    play(session, "second")
    assert session.flush(60)
    (warning,) = warnings_in(caplog)
    assert "jinja2 is not installed" in warning
    assert 'pip install "trackmllib[report]"' in warning
    assert len(store.parent_runs()) == 2
    for parent in store.parent_runs():
        assert "results.csv" in store.files(parent)
        assert "report.html" not in store.files(parent)


def test_report_that_fails_is_one_warning(store, tmp_path, monkeypatch, caplog):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    session = new_session(store, tmp_path / "home")
    play(session)
    assert session.flush(60)
    warning, *_ = warnings_in(caplog)
    assert "The report of search s could not be created" in warning
    assert "`trackmllib report` creates it" in warning
    assert store.only_parent_run().info.status == "FINISHED"
    assert session.reports.wait(1) == 0
    # The search is forgotten when another search has ended.
    play(session, "later")
    assert session.searches.get("s") is None


def test_report_option_switches_reports_off(store, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("a report was created")

    monkeypatch.setattr(report_queue, "create_report", never)
    session = new_session(store, tmp_path / "home", report=False)
    play(session)
    assert session.flush(60)
    assert "report.html" not in store.files(store.only_parent_run())


@pytest.mark.slow
def test_outbox_file_is_removed_after_report_is_delivered(store, tmp_path):
    session = new_session(store, tmp_path / "home")
    play(session)
    session.process_exit.at_exit()
    assert "report.html" in store.files(store.only_parent_run())
    assert list((tmp_path / "home").glob("*.db")) == []
    mlflow.set_tracking_uri(None)


AT_EXIT = """
import atexit
import tempfile
import threading
import time
from pathlib import Path

from support.search_descriptions import grid
from support.search_states import searched
from trackmllib.runtime.report_process import create_report
from trackmllib.reporting.run_links import RunLinks

search = searched(grid(x=[1, 2]), [[0.1, 0.2], [0.8, 0.9]])
drawing = threading.Thread(
    target=lambda: print(bool(create_report(search, RunLinks()))), daemon=True
)
# Registered before the report starts, as a session does.
atexit.register(lambda: drawing.join(60))
drawing.start()
while not list(Path(tempfile.gettempdir()).glob("trackmllib-*")):
    time.sleep(0.01)
"""


@pytest.mark.slow
def test_report_created_at_exit_is_complete(tmp_path):
    env = environ(Path(__file__).parents[2], TMPDIR=str(tmp_path))
    done = finished([sys.executable, "-c", AT_EXIT], env)
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert list(tmp_path.glob("trackmllib-*")) == []


@pytest.mark.slow
def test_flush_is_false_until_report_is_created(store, tmp_path, monkeypatch):
    slow = threading.Event()
    make = report_queue.create_report

    def waits(*arguments):
        slow.wait(30)
        return make(*arguments)

    monkeypatch.setattr(report_queue, "create_report", waits)
    session = new_session(store, tmp_path / "home")
    play(session)
    assert not session.flush(0.2)
    slow.set()
    assert session.flush(60)


def test_exit_warns_of_missing_reports(store, tmp_path, monkeypatch, caplog):
    never = threading.Event()
    monkeypatch.setattr(report_queue, "create_report", lambda *_: never.wait(30))
    session = new_session(store, tmp_path / "home", flush_timeout=3.0)
    play(session)
    session.process_exit.at_exit()
    never.set()
    (warning,) = warnings_in(caplog)
    assert warning.startswith("1 report is not created, because the process ends")
    assert store.only_parent_run().info.status == "FINISHED"


@pytest.mark.parametrize("python", ["", "/usr/bin/uwsgi"])
def test_embedded_interpreter_is_not_started(store, tmp_path, monkeypatch, caplog, python):
    monkeypatch.setattr(sys, "executable", python)
    session = new_session(store, tmp_path / "home")
    play(session)
    assert session.flush(60)
    (warning,) = warnings_in(caplog)
    assert "sys.executable is not a Python interpreter" in warning


def test_report_is_missing_if_no_thread_starts(store, tmp_path, monkeypatch, caplog):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "trackmllib-reports":
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    session = new_session(store, tmp_path / "home")
    play(session)
    assert session.flush(60)
    (warning,) = warnings_in(caplog)
    assert "the program exits" in warning


def test_report_process_gets_no_secrets(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "abc")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abc")
    monkeypatch.setenv("TRACKMLLIB_AUTOLOG", "1")
    monkeypatch.setenv("LANG", "C")
    environment = report_process._environment()
    assert environment["LANG"] == "C"
    assert "abc" not in environment.values()
    assert "TRACKMLLIB_AUTOLOG" not in environment
