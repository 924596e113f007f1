"""Output of ``status``, ``sync`` and ``drop``: counts with nouns, and no control characters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from commands import environ, trackmllib_command
from trackmllib.operations import Destination, LogArtifact, OpenMainRun
from trackmllib.outbox.home import Home

NOBODY = "http://127.0.0.1:1"
# A colour, the title of the window, delete, and the one-byte form of "ESC [".
FORGED = "\x1b[31mred\x1b]0;title\x07\x7f\x9b2J\rover"


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "outbox")


@pytest.fixture
def said(home):
    """Run the command on this home as a process; return what it prints on both streams."""

    def run(*arguments: str, code: int = 0) -> str:
        env = environ(TRACKMLLIB_HOME=str(home.folder.parent))
        done = trackmllib_command(*arguments, env=env)
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return run


def leave(
    home: Home, waiting: int, rejected: int = 0, *, uri: str = NOBODY, text: str = "text"
) -> Path:
    """Leave a search of a dead process, with these numbers of waiting and rejected operations."""
    held = home.create()
    destination = Destination(tracking_uri=uri, experiment_id="0")
    opening = OpenMainRun(search_id="s", destination=destination, name=text, start_ms=1)
    files = [
        LogArtifact(search_id="s", candidate=0, file_name=f"{number}.txt", text="")
        for number in range(waiting + rejected - 1)
    ]
    held.outbox.put([opening, *files])
    for _ in range(rejected):
        held.outbox.reject([held.outbox.peek(1)[0].number], text)
    held.outbox.note_error("s", text)
    held.outbox.close()
    held.lock.release()
    (path,) = home.folder.glob("*.db")
    return path


def assert_tame(text: str) -> None:
    controls = [each for each in text if each != "\n" and not each.isprintable()]
    assert controls == [], text


@pytest.mark.parametrize(
    ("waiting", "rejected", "sentences"),
    [
        (1, 0, ["1 operation waits for http"]),
        (2, 1, ["2 operations wait for http", "1 operation was rejected by the server: text"]),
        (1, 2, ["1 operation waits for http", "2 operations were rejected by the server: text"]),
    ],
)
def test_status_counts_in_grammatical_sentences(home, said, waiting, rejected, sentences):
    leave(home, waiting, rejected)
    printed = said("status")
    for sentence in sentences:
        assert sentence in printed


@pytest.mark.parametrize(("waiting", "words"), [(1, "1 operation that"), (2, "2 operations that")])
def test_drop_counts_in_grammatical_sentences(home, said, waiting, words):
    leave(home, waiting)
    assert f"{words} {NOBODY} does not have will be lost" in said("drop", "s", code=1)


def test_status_and_drop_print_no_control_characters(home, said):
    leave(home, 2, 1, uri=f"{NOBODY}/{FORGED}", text=FORGED)
    printed = said("status")
    assert_tame(printed)
    assert printed.count("␛[31mred") == 4
    assert_tame(said("drop", "s", code=1))


def test_sync_prints_no_control_characters(home, said):
    leave(home, 1, uri=f"{NOBODY}/{FORGED}", text=FORGED)
    printed = said("sync", "--timeout", "1", code=1)
    assert_tame(printed)
    assert "␛[31mred" in printed
    assert_tame(said("sync", "--server", "http://127.0.0.1:2"))


def test_status_prints_no_control_characters_of_a_host_name(home, said):
    lock = Path(f"{leave(home, 1)}.lock")
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "host": FORGED}))
    printed = said("status")
    assert_tame(printed)
    assert "left by the machine ␛[31mred" in printed


def test_line_break_in_name_makes_no_line(home, said):
    leave(home, 1, text="name\nNothing is left on disk: every search is on its server.")
    assert "\nNothing" not in said("status")


def test_status_json_has_original_texts(home, said):
    leave(home, 1, text=FORGED)
    (search,) = json.loads(said("status", "--json"))["searches"]
    assert search["name"] == FORGED


def test_an_error_prints_no_control_characters(home, said):
    """The command line itself may come from a script, with names from anywhere."""
    for uri in (f"{NOBODY}/{FORGED}", f"sqlite:///{FORGED}.db"):
        printed = said("searches", "--tracking-uri", uri, code=3)
        assert_tame(printed)
        assert "␛[31mred" in printed


def test_sync_ends_with_rows_that_keep_failing(home, said, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(uri).create_experiment("no place", "file:///dev/null/files")
    held = home.create()
    destination = Destination(tracking_uri=uri, experiment_name="no place")
    held.outbox.put(
        [
            OpenMainRun(search_id="s", destination=destination, name="s", start_ms=1),
            LogArtifact(search_id="s", file_name="results.csv", text=""),
        ]
    )
    held.outbox.close()
    held.lock.release()
    assert "1 operation deferred to" in said("sync", "--timeout", "90", code=1)
    (run,) = MlflowClient(uri).search_runs(["1"])
    assert run.data.tags["trackmllib.search_id"] == "s"
