"""Output of ``trackmllib status``, ``sync`` and ``drop``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from trackmllib.cli import main
from trackmllib.domain.operations import Destination, LogArtifact, OpenParentRun
from trackmllib.outbox.directory import OutboxDirectory

pytestmark = pytest.mark.versions

NO_SERVER = "http://127.0.0.1:1"
# A color, a window title, delete, and the one-byte form of "ESC [".
FORGED = "\x1b[31mred\x1b]0;title\x07\x7f\x9b2J\rover"


@pytest.fixture
def directory(tmp_path, monkeypatch) -> OutboxDirectory:
    """The outbox directory of the user, which is empty."""
    monkeypatch.setenv("TRACKMLLIB_HOME", str(tmp_path))
    return OutboxDirectory(tmp_path / "outbox")


@pytest.fixture
def run(directory, capsys):
    """Run a command, and return its output on both streams."""

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        exit_code = main(arguments)
        printed = capsys.readouterr()
        assert exit_code == code, printed
        assert "Traceback" not in printed.err
        return printed.out + printed.err

    return run


def leave(
    directory: OutboxDirectory,
    waiting: int,
    rejected: int = 0,
    *,
    uri: str = NO_SERVER,
    text: str = "text",
) -> Path:
    """Leave a search of a dead process, with these numbers of waiting and rejected operations."""
    held = directory.create()
    destination = Destination(tracking_uri=uri, experiment_id="0")
    opening = OpenParentRun(search_id="s", destination=destination, name=text, start_ms=1)
    files = [
        LogArtifact(search_id="s", candidate=0, file_name=f"{number}.txt", text="")
        for number in range(waiting + rejected - 1)
    ]
    held.outbox.enqueue([opening, *files])
    for _ in range(rejected):
        held.outbox.reject([held.outbox.peek(1)[0].number], text)
    held.outbox.record_error("s", text)
    held.outbox.close()
    held.lock.release()
    (path,) = directory.path.glob("*.db")
    return path


def test_damaged_file_is_kept_and_listed(directory, run):
    path = leave(directory, 3)
    path.write_bytes(b"no database" * 100)
    printed = run("sync", code=1)
    (kept,) = directory.damaged()
    assert f"trackmllib: The outbox {path} is damaged (" in printed
    assert "nothing of it is delivered: its runs may stay RUNNING in MLflow" in printed
    assert "Nothing is left on disk" not in printed
    assert kept.read_bytes() == b"no database" * 100
    printed = run("status")
    assert f"{kept}\n  damaged outbox file, kept; nothing of it is delivered" in printed
    assert "Delete it when you no longer need it." in printed
    assert json.loads(run("status", "--json")) == {"searches": [], "damaged": [str(kept)]}
    # The next sync neither warns again nor touches the file.
    left = run("sync", code=1)
    assert "is damaged" not in left
    assert f"{kept}\n  damaged outbox file, kept; nothing of it is delivered" in left
    assert run("sync", "--tracking-uri", NO_SERVER, code=1) == left
    assert directory.damaged() == [kept]
    kept.unlink()
    assert (
        run("sync") == run("status") == "Nothing is left on disk: every search is on its server.\n"
    )


def assert_printable(text: str) -> None:
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
def test_status_counts_in_grammatical_sentences(directory, run, waiting, rejected, sentences):
    leave(directory, waiting, rejected)
    printed = run("status")
    for sentence in sentences:
        assert sentence in printed


@pytest.mark.parametrize(
    ("waiting", "words"), [(1, "1 operation that has"), (2, "2 operations that have")]
)
def test_drop_counts_in_grammatical_sentences(directory, run, waiting, words):
    leave(directory, waiting)
    assert f"deletes {words} not reached {NO_SERVER}: " in run("drop", "s", code=1)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_drop_asks_on_terminal(directory, run, monkeypatch, answer, code):
    path = leave(directory, 1)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    printed = run("drop", "s", code=code)
    assert "Drop it? [y/N]" in printed
    assert ("Search s was dropped." in printed) == (code == 0)
    assert path.exists() == (code == 1)


def test_drop_does_not_ask_without_terminal(directory, run, monkeypatch):
    path = leave(directory, 1)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert "Confirm with --yes" in run("drop", "s", code=1)
    assert path.exists()
    assert "Search s was dropped." in run("drop", "s", "--yes")
    assert not path.exists()
    assert "There is no search s on disk." in run("drop", "s", code=1)


def test_status_and_drop_print_no_control_characters(directory, run):
    leave(directory, 2, 1, uri=f"{NO_SERVER}/{FORGED}", text=FORGED)
    printed = run("status")
    assert_printable(printed)
    assert printed.count("␛[31mred") == 4
    assert_printable(run("drop", "s", code=1))


def test_sync_prints_no_control_characters(directory, run):
    leave(directory, 1, uri=f"{NO_SERVER}/{FORGED}", text=FORGED)
    printed = run("sync", "--timeout", "1", code=1)
    assert_printable(printed)
    assert "␛[31mred" in printed
    assert_printable(run("sync", "--tracking-uri", "http://127.0.0.1:2"))


def test_status_prints_no_control_characters_of_host_name(directory, run):
    lock = Path(f"{leave(directory, 1)}.lock")
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "host": FORGED}))
    printed = run("status")
    assert_printable(printed)
    assert "left by the machine ␛[31mred" in printed


def test_line_break_in_name_starts_no_line(directory, run):
    leave(directory, 1, text="name\nNothing is left on disk: every search is on its server.")
    assert "\nNothing" not in run("status")


def test_status_json_has_original_texts(directory, run):
    leave(directory, 1, text=FORGED)
    (search,) = json.loads(run("status", "--json"))["searches"]
    assert search["name"] == FORGED


def test_errors_print_no_control_characters(directory, run):
    """The command line may come from a script, with names from elsewhere."""
    for uri in (f"{NO_SERVER}/{FORGED}", f"sqlite:///{FORGED}.db"):
        printed = run("searches", "--tracking-uri", uri, code=3)
        assert_printable(printed)
        assert "␛[31mred" in printed


def test_sync_ends_if_operation_keeps_failing(directory, run, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(uri).create_experiment("no place", "file:///dev/null/files")
    held = directory.create()
    destination = Destination(tracking_uri=uri, experiment_name="no place")
    held.outbox.enqueue(
        [
            OpenParentRun(search_id="s", destination=destination, name="s", start_ms=1),
            LogArtifact(search_id="s", file_name="results.csv", text=""),
        ]
    )
    held.outbox.close()
    held.lock.release()
    printed = run("sync", "--timeout", "90", code=1)
    assert "ended; 1 operation waits for" in printed
    assert "last error: " in printed
    (parent,) = MlflowClient(uri).search_runs(["1"])
    assert parent.data.tags["trackmllib.search_id"] == "s"
