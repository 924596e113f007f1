"""The report of a search lands among the files of its run, whatever becomes of the server."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

import mlflow
import pytest

import made
from commands import environ, finished
from reading import Store
from trackmllib import reports
from trackmllib.errors import Unavailable
from trackmllib.operations import Destination
from trackmllib.outbox.home import Home
from trackmllib.session import Session
from trackmllib.settings import Settings

EXPERIMENT = "reports"


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/mlflow.db", EXPERIMENT)
    store.client.create_experiment(EXPERIMENT, (tmp_path / "artifacts").as_uri())
    return store


def new_session(store: Store, home: Path, run_id: str | None = None, **settings) -> Session:
    return Session(
        Settings(**{"strict": True, "progress": False, **settings}),
        home=Home(home),
        destination=lambda: Destination(
            tracking_uri=store.uri,
            experiment_id=store.experiment_id,
            run_id=run_id,
            owned=run_id is None,
        ),
    )


def play(session: Session, search_id: str = "s", candidates: int = 2) -> None:
    for event in made.events(search_id, candidates):
        session.emit(event)


def warnings_in(caplog) -> list[str]:
    """What trackmllib has warned of; MLflow's own autologging may have more to say."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "trackmllib" and record.levelno >= logging.WARNING
    ]


def test_the_report_and_its_figure_are_on_the_main_run(store, tmp_path):
    session = new_session(store, tmp_path / "home")
    play(session)
    # Nobody waits for it in fit().
    assert "report.html" not in store.files(store.only_main_run())
    assert session.flush(60)
    main = store.only_main_run()
    assert {"report.html", "report.png"} <= set(store.files(main))
    assert main.info.status == "FINISHED"
    page = store.text(main, "trackmllib/report.html")
    assert "maxDepth=1, maxBins=1</" in page
    path = store.client.download_artifacts(main.info.run_id, "trackmllib/report.png")
    assert Path(path).read_bytes().startswith(b"\x89PNG")


def test_reports_of_several_searches_in_a_run_are_apart(store, tmp_path):
    run = store.client.create_run(store.experiment_id)
    session = new_session(store, tmp_path / "home", run.info.run_id)
    play(session, "first")
    play(session, "second")
    assert session.flush(60)
    for folder in ("trackmllib", "trackmllib_second"):
        assert "report.html" in store.files(run, folder)
    assert store.client.get_run(run.info.run_id).info.status == "RUNNING"


def test_a_report_waits_on_disk_for_a_server_that_is_away(store, tmp_path, monkeypatch):
    from trackmllib.tracking.apply import MlflowTracking

    def away(self, operation, again=False):
        raise Unavailable("away")

    monkeypatch.setattr("trackmllib.afterwards.PATIENCE_SECONDS", 0.0)
    session = new_session(store, tmp_path / "home", wait=False, flush_timeout=0.0, strict=False)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowTracking, "apply", away)
        play(session)
        session.afterwards.wait(60)
        assert not session.flush(0.1)
    assert session.flush(60)
    assert "report.html" in store.files(store.only_main_run())


def test_without_what_draws_it_one_line_says_what_to_install(store, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(reports, "_is_there", lambda module: module != "jinja2")
    session = new_session(store, tmp_path / "home")
    play(session, "first")
    play(session, "second")
    assert session.flush(60)
    (said,) = warnings_in(caplog)
    assert "jinja2 is not installed" in said
    assert 'pip install "trackmllib[report]"' in said
    assert len(store.main_runs()) == 2
    for main in store.main_runs():
        assert "results.csv" in store.files(main)
        assert "report.html" not in store.files(main)


def test_a_report_that_fails_is_said_and_costs_nothing_else(store, tmp_path, monkeypatch, caplog):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(reports.sys, "executable", str(python))
    session = new_session(store, tmp_path / "home")
    play(session)
    assert session.flush(60)
    said, *_ = warnings_in(caplog)
    assert "The report of search s is not made" in said
    assert "`trackmllib report` makes one" in said
    assert store.only_main_run().info.status == "FINISHED"
    assert session.afterwards.wait(1) == 0
    # Nothing is kept of it once another search has ended.
    play(session, "later")
    assert session._searches.get("s") is None


def test_reports_can_be_switched_off(store, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("a report was made")

    monkeypatch.setattr(reports, "make", never)
    session = new_session(store, tmp_path / "home", report=False)
    play(session)
    assert session.flush(60)
    assert "report.html" not in store.files(store.only_main_run())


def test_the_file_of_a_process_is_gone_when_its_report_is_there(store, tmp_path):
    session = new_session(store, tmp_path / "home")
    play(session)
    session._at_exit()
    assert "report.html" in store.files(store.only_main_run())
    assert list((tmp_path / "home").glob("*.db")) == []
    mlflow.set_tracking_uri(None)


AT_THE_END = """
import atexit
import tempfile
import threading
import time
from pathlib import Path

from tables import grid, searched
from trackmllib import reports
from trackmllib.view.runs import Runs

search = searched(grid(x=[1, 2]), [[0.1, 0.2], [0.8, 0.9]])
drawing = threading.Thread(target=lambda: print(bool(reports.make(search, Runs()))), daemon=True)
# As a session waits: registered before the first report begins.
atexit.register(lambda: drawing.join(60))
drawing.start()
while not list(Path(tempfile.gettempdir()).glob("trackmllib-*")):
    time.sleep(0.01)
"""


def test_report_drawn_at_program_end_is_complete(tmp_path):
    env = environ(Path(__file__).parents[1], TMPDIR=str(tmp_path))
    done = finished([sys.executable, "-c", AT_THE_END], env)
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert list(tmp_path.glob("trackmllib-*")) == []


def test_flush_says_no_while_a_report_is_made(store, tmp_path, monkeypatch):
    slow = threading.Event()
    make = reports.make

    def waits(*arguments):
        slow.wait(30)
        return make(*arguments)

    monkeypatch.setattr(reports, "make", waits)
    session = new_session(store, tmp_path / "home")
    play(session)
    assert not session.flush(0.2)
    slow.set()
    assert session.flush(60)


def test_a_process_that_ends_says_which_reports_are_missing(store, tmp_path, monkeypatch, caplog):
    never = threading.Event()
    monkeypatch.setattr(reports, "make", lambda *_: never.wait(30))
    session = new_session(store, tmp_path / "home", flush_timeout=3.0)
    play(session)
    session._at_exit()
    never.set()
    (said,) = warnings_in(caplog)
    assert said.startswith("1 report is not made, because the process ends")
    assert store.only_main_run().info.status == "FINISHED"


@pytest.mark.parametrize("python", ["", "/usr/bin/uwsgi"])
def test_a_program_that_is_no_python_is_not_started_again(
    store, tmp_path, monkeypatch, caplog, python
):
    monkeypatch.setattr(reports.sys, "executable", python)
    session = new_session(store, tmp_path / "home")
    play(session)
    assert session.flush(60)
    (said,) = warnings_in(caplog)
    assert "no Python that could start another one" in said


def test_a_thread_that_cannot_start_costs_the_report_only(store, tmp_path, monkeypatch, caplog):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "trackmllib-reports":
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    session = new_session(store, tmp_path / "home")
    play(session)
    assert session.flush(60)
    (said,) = warnings_in(caplog)
    assert "the program is at its end" in said


def test_the_process_that_draws_gets_no_secrets(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "abc")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abc")
    monkeypatch.setenv("TRACKMLLIB_AUTOLOG", "1")
    monkeypatch.setenv("LANG", "C")
    environment = reports._environment()
    assert environment["LANG"] == "C"
    assert "abc" not in environment.values()
    assert "TRACKMLLIB_AUTOLOG" not in environment
