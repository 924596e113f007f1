"""Exit codes and messages of commands that fail."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest
from mlflow import MlflowClient

from support.commands import TRACKMLLIB, environ, table_rows
from support.search_events import AVERAGES, SCORES, search
from support.search_player import Player
from trackmllib import Unreachable, load_results
from trackmllib.cli import main


@pytest.mark.versions
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show"], "Missing argument 'RUN'."),
        (["no-such-command"], "No such command 'no-such-command'."),
        (["show", "x", "--no-such-option"], "--no-such-option"),
        (["show", "x", "--top", "-1"], "Invalid value for '--top': -1 is not in the range x>=0."),
        (["show", "x", "--top", "x"], "Invalid value for '--top': 'x' is not a valid integer"),
        (["show", "x", "--top", "1.5"], "Invalid value for '--top': '1.5' is not a valid integer"),
        (["show", "x", "--json", "--csv"], "--json and --csv cannot be combined."),
        (["searches", "--limit", "0"], "Invalid value for '--limit': 0 is not in the range x>=1."),
        (["searches", "--limit", "x"], "Invalid value for '--limit': 'x' is not a valid integer"),
        (["sync", "--timeout", "nan"], "Invalid value for '--timeout': 'nan' is not a number of"),
        (["sync", "--timeout", "inf"], "Invalid value for '--timeout': 'inf' is not a number of"),
        (["sync", "--timeout", "-1"], "Invalid value for '--timeout': -1.0 is not in the range"),
        (["compare", "one"], "compare needs at least two runs."),
        (["compare", "one", "two", "--open"], "--open needs a report: add -o FILE."),
        (["report", "one"], "Missing option '-o' / '--output'."),
    ],
)
def test_wrong_command_line_exits_2_with_usage(capsys, arguments, message):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    usage, *_, error = printed.err.splitlines()
    assert usage.startswith("Usage: trackmllib ")
    assert error.startswith("Error: ")
    assert message in error


def test_wrong_tracking_uri_exits_2(invoke):
    assert "unsupported URI" in invoke("searches", "--tracking-uri", "ftp://x", code=2)


@pytest.mark.parametrize("command", [("show",), ("report", "-o", "f.html"), ("compare", "x")])
def test_unknown_run_exits_2_and_lists_near_matches(invoke, searches, player, command):
    client = MlflowClient(tracking_uri=player.uri)
    plain = client.create_run(player.experiment_id, run_name="without a search").info.run_id
    # compare names the first run that is wrong.
    command = ("compare", searches["done"]) if command[0] == "compare" else command
    text = invoke(*command, "two in on", code=2)
    assert "there is no run 'two in on'" in text
    assert f"similar runs are\n  {searches['run']}  " in text
    assert "is not a search of trackmllib" in invoke(*command, plain, code=2)
    text = invoke(*command, "CrossValidator: Pipeline", code=2)
    assert "matches several runs" in text
    assert text.count("CrossValidator: Pipeline") > 2
    assert not Path("f.html").exists()


@pytest.fixture
def silent_server():
    """A socket that accepts connections and never answers, and its URI."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.slow
@pytest.mark.parametrize("server", ["closed port", "silent"])
def test_unreachable_server_exits_3_within_10_seconds(silent_server, capsys, server):
    _, uri = silent_server
    if server == "closed port":
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        uri = f"http://me:secret@127.0.0.1:{port}"
    # In this process, since starting Python and importing MLflow may take as long.
    began = time.monotonic()
    assert main(["show", "x", "--tracking-uri", uri]) == 3
    assert time.monotonic() - began < 10
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("trackmllib: http://")
    assert "secret" not in line


@pytest.mark.slow
def test_interrupted_command_exits_130(silent_server):
    listener, uri = silent_server
    process = subprocess.Popen(
        [*TRACKMLLIB, "show", "x", "--tracking-uri", uri],
        env=environ(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        connection, _ = listener.accept()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "\ntrackmllib: interrupted; nothing is lost.\n"
        assert process.wait(60) == 130
        connection.close()


def test_hanging_name_resolution_is_bounded(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    began = time.monotonic()
    with pytest.raises(Unreachable, match="no answer within 1 s"):
        load_results("x", "http://a-name-that-hangs:5000")
    assert time.monotonic() - began < 10
    over.set()


def test_missing_store_is_not_created(invoke, tmp_path):
    for uri in (f"sqlite:///{tmp_path}/no/mlflow.db", "sqlite:///no.db", str(tmp_path / "mlruns")):
        assert "does not exist; to read" in invoke("searches", "--tracking-uri", uri, code=3)
    (tmp_path / "empty.db").touch()
    text = invoke("searches", "--tracking-uri", "sqlite:///empty.db", code=3)
    assert "the file is not an MLflow store" in text
    (tmp_path / "no.db").write_text("a text file, which is longer than the header of a database")
    assert "not a database" in invoke("searches", "--tracking-uri", "sqlite:///no.db", code=3)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == ["empty.db", "no.db"]


def test_commands_read_from_http_server(invoke, server_uri, tmp_path):
    client = MlflowClient(tracking_uri=server_uri)
    name = f"commands {uuid.uuid4()}"
    player = Player(tmp_path, server_uri, client.create_experiment(name))
    search_id = player.play(search(SCORES, AVERAGES, 1))
    server = ("--tracking-uri", server_uri)
    _, row = table_rows(invoke("searches", "--experiment", name, *server))
    assert row[2:5] == ["finished", "4/4", "0.8500"]
    assert "4 of 4 candidates" in invoke("show", row[0], *server)
    assert search_id in invoke("show", row[0], "--json", *server)
