"""The verbs that read from a server: what they print, and how they end."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import math
import os
import pty
import re
import shlex
import socket
import struct
import subprocess
import termios
import threading
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from mlflow import MlflowClient

from commands import TRACKMLLIB, environ, finished, trackmllib_command
from played import Player, failing, grid, search
from trackmllib import UnknownSearch, Unreachable, load_results
from trackmllib.cli import main, terminal
from trackmllib.recorder import files
from trackmllib.view.results import Results

NAN, INF = math.nan, math.inf
SCORES = [[0.1, 0.2], [0.8, 0.9], [0.8, 0.9], [0.3, 0.3]]
AVERAGES = [0.15, 0.85, 0.85, 0.3]
ODD = ("<b>&", "😀", "\x1b[31m\x00\n", "x" * 5000, "‮right to left")


@pytest.fixture(scope="module")
def player(tmp_path_factory) -> Player:
    folder = tmp_path_factory.mktemp("commands")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("digits", (folder / "files").as_uri())
    return Player(folder, uri, experiment)


@pytest.fixture(scope="module")
def searches(player) -> dict[str, str]:
    """The ids of some searches, oldest first."""
    scores = [[NAN, 0.5], [INF, 1.0], [-INF, 1.0], [0.5, 0.5]]
    made = {
        "done": player.play(search(SCORES, AVERAGES, 1)),
        "not finite": player.play(search(scores, [NAN, INF, -INF, 0.5], 0)),
        "smaller": player.play(search(SCORES, AVERAGES, 0, larger_is_better=False, metric="rmse")),
        "unknown": player.play(search(SCORES, AVERAGES, 1, larger_is_better=None)),
        "failed": player.play(failing()),
        "odd": player.play(search([[0.1, 0.2]] * 5, [0.15] * 5, 0, candidates=grid(*ODD))),
        "running": player.play(search(SCORES, AVERAGES, 1, stop=19)),
    }
    client = MlflowClient(tracking_uri=player.uri)
    run = client.create_run(player.experiment_id, run_name="two in one")
    player.active = run.info.run_id
    made["first"] = player.play(search([[0.5], [0.6]], [0.5, 0.6], 1, averaged=False))
    made["second"] = player.play(search(SCORES, AVERAGES, 1))
    made["run"] = player.active
    return made


@pytest.fixture
def said(player, searches, capsys, monkeypatch):
    """Runs a verb in this process; what it prints, having ended with ``code``."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", player.uri)

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        try:
            ended = main(arguments)
        except SystemExit as refusal:
            ended = refusal.code
        printed = capsys.readouterr()
        assert ended == code, printed
        assert "Traceback" not in printed.err
        return printed.err if code else printed.out

    return run


def table(text: str) -> list[list[str]]:
    """The cells of the last table in a text, by two or more spaces."""
    lines = text.rstrip("\n").split("\n\n")[-1].splitlines()
    return [re.split(r"  +", line.strip()) for line in lines]


def test_show_has_the_best_first_and_bars(said, searches):
    lines = said("show", searches["done"]).splitlines()
    assert re.fullmatch(r"CrossValidator: Pipeline · run [0-9a-f]{32} · \d+ (s|min) ago", lines[0])
    assert lines[1] == "finished · 4 of 4 settings · 2 folds · weightedPrecision, larger is better"
    assert lines[2].startswith(
        "maxDepth=1 is best, as one of 2: 2 settings have the same best score"
    )
    rows = [line.split() for line in lines[-5:-1]]
    # Rank, candidate, maxDepth, average: equal ones share their rank, and their bar.
    assert [row[:4] for row in rows] == [
        ["1=", "1", "1", "0.8500"],
        ["1=", "2", "2", "0.8500"],
        ["3", "3", "3", "0.3000"],
        ["4", "0", "0", "0.1500"],
    ]
    assert [line.count("█") for line in lines[-5:-1]] == [12, 12, 2, 0]


def test_what_cannot_be_told_apart_from_the_best_is_marked(said, searches):
    text = said("show", searches["done"])
    assert text.splitlines()[-1] == "≈ cannot be told apart from the best"
    # One split says nothing of that.
    assert "≈" not in said("show", "two in one", "--search", searches["first"])


def test_one_fold_is_no_folds(said, searches, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    other = Player(tmp_path, uri, client.create_experiment("1", (tmp_path / "f").as_uri()))
    text = said("show", other.play(search([[0.5], [0.6]], [0.5, 0.6], 1)), "--tracking-uri", uri)
    assert " · 1 fold · " in text


def test_on_a_terminal_a_csv_obeys_nobody(player, searches):
    env = environ(MLFLOW_TRACKING_URI=player.uri, TERM="xterm")
    printed = on_a_terminal([*TRACKMLLIB, "show", searches["odd"], "--csv"], env, 80)
    assert "\x1b" not in printed
    assert "␛[31m" in printed


def test_the_winner_that_is_painted_is_that_of_the_answer(player, searches):
    env = environ(MLFLOW_TRACKING_URI=player.uri, TERM="xterm")
    for name in ("COLUMNS", "NO_COLOR"):
        env.pop(name, None)
    printed = on_a_terminal([*TRACKMLLIB, "show", searches["not finite"]], env, 120)
    painted = [line for line in printed.splitlines() if line.startswith("\x1b[1;32m")]
    assert ["inf" in line for line in painted] == [True]


def test_where_smaller_is_better_the_smallest_has_the_full_bar(said, searches):
    text = said("show", searches["smaller"])
    assert "rmse, smaller is better" in text
    lines = text.splitlines()[-5:-1]
    assert [line.split()[:2] for line in lines] == [
        ["1", "0"],
        ["2", "3"],
        ["3=", "1"],
        ["3=", "2"],
    ]
    assert [line.count("█") for line in lines] == [12, 9, 0, 0]


def test_where_nobody_knows_what_is_better_there_are_neither_ranks_nor_bars(said, searches):
    text = said("show", searches["unknown"])
    assert "█" not in text
    assert "is better" not in text.splitlines()[1]
    assert "rank" not in text


def test_what_is_not_finite_is_shown_as_what_it_is(said, searches):
    lines = said("show", searches["not finite"]).splitlines()[-4:]
    # Spark takes NaN for the best.
    assert [line.split()[:4] for line in lines] == [
        ["1", "0", "0", "NaN"],
        ["2", "1", "1", "inf"],
        ["3", "3", "3", "0.5000"],
        ["4", "2", "2", "-inf"],
    ]
    assert [line.count("█") for line in lines] == [0, 12, 12, 0]


def test_candidates_that_failed_or_did_not_begin_say_so(said, searches):
    text = said("show", searches["failed"])
    assert "failed: ValueError: no · 0 of 3 settings" in text
    states = [line.split()[2:] for line in text.splitlines()[-3:]]
    assert "killed" in states[0]
    assert "failed" in states[1]
    assert states[2] == ["not", "begun"]


def test_a_running_search_has_what_there_is(said, searches):
    text = said("show", searches["running"])
    assert "running · 1 of 4 settings" in text
    lines = text.splitlines()[-4:]
    assert lines[0].split()[:4] == ["1", "0", "0", "0.1500"]
    assert sum("running" in line for line in lines) == 3


def test_several_searches_of_a_run_come_one_after_the_other(said, searches):
    text = said("show", "two in one")
    first, second = text.split("\n\n\n") if "\n\n\n" in text else text.split("\n\ntwo in one")
    assert "2 of 2 settings" in first
    assert "4 of 4 settings" in second
    alone = said("show", searches["run"][:12], "--search", searches["first"][:13])
    # Both are the same but for the second in which they were asked for.
    alone, text = (re.sub(r"\d+ (s|min) ago", "ago", each) for each in (alone, text))
    assert alone in text
    assert "has 2 searches" in said("show", "two in one", "--csv", code=2)
    assert said("show", "two in one", "--search", searches["second"], "--csv")
    assert "no search of run" in said("show", "two in one", "--search", "zzz", code=2)


def test_top_takes_the_best(said, searches):
    text = said("show", searches["done"], "--top", "1")
    assert [line.split()[0] for line in text.splitlines()[-3:]] == ["rank", "1=", "3"]
    assert text.splitlines()[-1] == "3 more: --top 0"
    for bad in ("-1", "x", "1.5"):
        assert f"{bad!r} is no whole number from 0 on" in said("show", "x", "--top", bad, code=2)
    assert "'0' is no whole number from 1 on" in said("searches", "--limit", "0", code=2)
    assert "_at_least" not in said("searches", "--limit", "x", code=2)


def test_json_is_what_every_program_reads(said, searches):
    def no_constant(name: str):
        raise AssertionError(name)

    text = said("show", searches["not finite"], "--json")
    (shown,) = json.loads(text, parse_constant=no_constant)["searches"]
    assert shown["search_id"] == searches["not finite"]
    assert shown["best"] == 0
    averages = [row["average"] for row in shown["candidates"]]
    assert averages == ["NaN", "Infinity", 0.5, "-Infinity"]
    assert all(float(average) is not None for average in averages)
    assert shown["candidates"][2]["params.maxDepth"] == 3
    assert len(shown["candidates"][0]["run_id"]) == 32
    (shown,) = json.loads(said("show", searches["odd"], "--json"))["searches"]
    assert {row["params.maxDepth"] for row in shown["candidates"]} == set(ODD)
    assert len(json.loads(said("show", "two in one", "--json"))["searches"]) == 2
    listed = json.loads(said("searches", "--json"), parse_constant=no_constant)["searches"]
    assert [each["search_id"] for each in listed][::-1] == [
        each for name, each in searches.items() if name != "run"
    ]


def test_csv_is_that_of_results_csv(said, searches, player):
    for name in ("done", "odd", "failed"):
        text = said("show", searches[name], "--csv")
        live = player.tables[searches[name]]
        assert text == files.results_csv(live, Results(live).grid)
        assert len(list(csv.DictReader(io.StringIO(text)))) == len(live.description.candidates)


def test_an_error_prints_no_control_characters(said, player):
    """Names and ids are tags, which other people can write."""
    client = MlflowClient(tracking_uri=player.uri)
    forged = "\x1b[31mred\x7f\x9b2J"
    tags = {"trackmllib.search_id": forged}
    run = client.create_run(player.experiment_id, run_name=forged, tags=tags).info.run_id
    client.log_param(run, "candidates", "1")
    for arguments in (
        ("show", run, "--search", "0"),
        ("show", run),
        ("searches", "--experiment", forged),
    ):
        printed = said(*arguments, code=2)
        assert all(each.isprintable() or each == "\n" for each in printed), printed
    client.delete_run(run)


@pytest.mark.parametrize("room", [40, 60, 80, 120])
def test_the_layout_holds_for_any_params(said, searches, monkeypatch, room):
    monkeypatch.setenv("COLUMNS", str(room))
    text = said("show", searches["odd"])
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "‮" not in text
    head, *lines = text.split("\n\n")[1].splitlines()
    widths = [terminal.cells(line) for line in (head, *lines[:5])]
    assert max(widths) <= room
    assert "maxDepth" in head
    assert "weightedPrecision" in head
    # The averages stand in one column, whatever is before them.
    ends = {terminal.cells(line[: line.index("0.1500") + 6]) for line in lines[:5]}
    assert ends == {terminal.cells(head[: head.index("weightedPrecision") + 17])}
    assert "xxx…" in text


def test_searches_are_listed_newest_first(said, searches, player):
    head, *rows = table(said("searches"))
    assert head[:6] == ["run", "search", "name", "state", "done", "best"]
    names = {search_id[:8]: name for name, search_id in searches.items()}
    shown = {names[row[1]]: row for row in rows}
    assert [names[row[1]] for row in rows] == [
        *("second", "first", "running", "odd", "failed"),
        *("unknown", "smaller", "not finite", "done"),
    ]
    assert shown["done"][3:6] == ["finished", "4/4", "0.8500"]
    assert shown["smaller"][3:7] == ["finished", "4/4", "0.1500", "rmse"]
    assert shown["not finite"][5] == "NaN"
    assert shown["failed"][3:5] == ["failed", "0/3"]
    assert shown["running"][3:6] == ["running", "1/4", "0.1500"]
    assert shown["first"][2:6] == ["two in one", "finished", "2/2", "0.6000"]
    assert shown["done"][-1] == "digits"
    assert said("searches", "--experiment", "digits").count("\n") == 10
    assert said("searches", "--experiment", player.experiment_id).count("\n") == 10
    assert said("searches", "--limit", "2").count("\n") == 3
    assert "There are no searches" in said("searches", "--experiment", "Default")
    text = said("searches", "--experiment", "digit", code=2)
    assert "no experiment digit" in text
    assert "did you mean digits?" in text


def test_the_age_is_that_of_the_search_and_not_of_its_run(said, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("long", (tmp_path / "files").as_uri())
    day_ago = round(time.time() * 1000) - 24 * 3_600_000
    player = Player(tmp_path, uri, experiment)
    long, other = (
        client.create_run(experiment, start_time=day_ago, run_name=name).info.run_id
        for name in ("long", "other")
    )
    made = []
    for run in (long, None, other, long):
        player.active = run
        made.append(player.play(search(SCORES, AVERAGES, 1)))
    server = ("--tracking-uri", uri)
    listed = json.loads(said("searches", "--json", *server))["searches"]
    assert [each["search_id"] for each in listed] == made[::-1]
    for each in listed:
        assert each["start_ms"] == player.tables[each["search_id"]].start_ms


@pytest.mark.parametrize("verb", [("show",), ("report", "-o", "f.html"), ("compare", "x")])
def test_what_is_no_search_is_refused_in_a_sentence(said, searches, player, verb):
    client = MlflowClient(tracking_uri=player.uri)
    plain = client.create_run(player.experiment_id, run_name="of somebody else").info.run_id
    # Of what is compared, the first that is wrong is named.
    verb = (verb[0], searches["done"]) if verb[0] == "compare" else verb
    text = said(*verb, "two in on", code=2)
    assert "there is no run 'two in on'" in text
    assert f"near it are\n  {searches['run']}  " in text
    assert "is no search of trackmllib" in said(*verb, plain, code=2)
    text = said(*verb, "CrossValidator: Pipeline", code=2)
    assert "could be any of these" in text
    assert text.count("CrossValidator: Pipeline") > 2
    assert not Path("f.html").exists()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A player for an experiment of a store in which searches get damaged."""
    folder = tmp_path_factory.mktemp("damaged")
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)

    def made(name: str) -> tuple[Player, MlflowClient, str]:
        experiment = client.create_experiment(name, (folder / "files").as_uri())
        return Player(folder / name.replace(" ", "_"), uri, experiment), client, experiment

    return made


def damage(client: MlflowClient, run_id: str, name: str, change) -> None:
    """Change the text of a run's file in the store."""
    (path,) = Path(url2pathname(urlsplit(client.get_run(run_id).info.artifact_uri).path)).glob(name)
    path.write_bytes(change(path.read_bytes()))


DAMAGES = {
    "cut": ("search.json", lambda text: text[:300], "it is not JSON"),
    "deep": (
        "search.json",
        lambda text: text.replace(b'"folds": 2', b'"folds": ' + b"[" * 100_000),
        "nested too deeply",
    ),
    "not UTF-8": ("search.json", lambda text: text[:300] + b"\xff\xfe", "it is not JSON"),
    "a text for a number": (
        "search.json",
        lambda text: text.replace(b'"folds": 2', b'"folds": "3"'),
        "folds is '3', but must be a whole number",
    ),
    "endless": (
        "search.json",
        lambda text: text.replace(b'"folds": 2', b'"folds": 1000000000'),
        "folds is 1000000000, but must be a whole number",
    ),
    "of the outcome": (
        "outcome.json",
        lambda text: text.replace(b'"best": 1', b'"best": 1000000000'),
        "best is 1000000000, but must be a whole number",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_search_does_not_hide_others(said, damaged, case):
    name, change, sentence = DAMAGES[case]
    ours, client, experiment = damaged(case)
    uri = ours.uri
    ours.active = client.create_run(experiment, run_name=case).info.run_id
    whole = ours.play(search(SCORES, AVERAGES, 1))
    broken = ours.play(search(SCORES, AVERAGES, 1))
    damage(client, ours.active, f"trackmllib_{broken}/{name}", change)
    server = ("--tracking-uri", uri)

    _, *rows = table(said("searches", "--experiment", case, *server))
    assert [(row[1], row[3]) for row in rows] == [
        (broken[:8], "unreadable"),
        (whole[:8], "finished"),
    ]
    listed = json.loads(said("searches", "--json", "--experiment", case, *server))["searches"]
    assert [each["state"] for each in listed] == ["UNREADABLE", "FINISHED"]

    error = said("show", broken, *server, code=2)
    assert error.startswith(f"trackmllib: search {broken} on run {ours.active} cannot be shown: ")
    assert f"its {name} is damaged: " in error
    assert sentence in error
    assert error.count("\n") == 1
    for arguments in (("report", broken, "-o", "f.html"), ("compare", broken, whole)):
        assert said(*arguments, *server, code=2) == error
    with pytest.raises(UnknownSearch, match="is damaged"):
        load_results(ours.active, uri)

    # show prints the intact search, and says what is wrong with the other one.
    assert said("show", case, *server, code=1) == error
    assert "4 of 4 settings" in said("show", whole, *server)


def test_intact_search_is_shown_beside_damaged_one(damaged, capsys):
    ours, client, experiment = damaged("half")
    ours.active = client.create_run(experiment, run_name="half").info.run_id
    whole = ours.play(search(SCORES, AVERAGES, 1))
    broken = ours.play(search(SCORES, AVERAGES, 1))
    damage(client, ours.active, f"trackmllib_{broken}/search.json", lambda text: text[:300])
    capsys.readouterr()
    assert main(["show", "half", "--json", "--tracking-uri", ours.uri]) == 1
    printed = capsys.readouterr()
    assert [each["search_id"] for each in json.loads(printed.out)["searches"]] == [whole]
    assert f"search {broken} on run" in printed.err


def test_forged_numbers_do_not_hide_searches(said, damaged):
    ours, client, experiment = damaged("forged")
    good = ours.play(search(SCORES, AVERAGES, 1))
    for number in range(4):
        run = client.create_run(experiment, run_name=str(number)).info.run_id
        client.log_param(run, "candidates", ("9" * 6000, "10", "10", "10")[number])
        client.log_param(run, "metric", "m")
        client.log_metric(run, "candidates_finished", (1, NAN, INF, 1)[number])
        client.log_metric(run, "cells_finished", (1, INF, NAN, 1)[number])
        client.set_tag(run, "trackmllib.search_id", (good, good, good, "it's")[number])
        client.set_tag(run, "trackmllib.started", "0001-01-01T00:00:00")
        client.set_tag(run, "trackmllib.larger_is_better", "true")
    arguments = ("--json", "--experiment", "forged", "--tracking-uri", ours.uri)
    listed = json.loads(said("searches", *arguments))["searches"]
    assert len(listed) == 5
    assert [each["state"] for each in listed].count("FINISHED") == 1


def test_a_bad_command_line_is_refused(said):
    assert "RUN" in said("show", code=2)
    assert "two runs or more" in said("compare", "one", code=2)
    assert "--open" in said("compare", "one", "two", "--open", code=2)
    assert "not allowed with" in said("show", "x", "--json", "--csv", code=2)
    assert "unsupported URI" in said("searches", "--tracking-uri", "ftp://x", code=2)


def test_searches_on_other_metrics_are_not_compared(said, searches):
    text = said("compare", searches["done"], searches["smaller"], code=2)
    assert "has weightedPrecision (larger is better), and" in text
    assert text.endswith("rmse (smaller is better)\n")


def test_a_comparison_matches_settings_by_their_params(said, searches):
    text = said("compare", searches["done"], searches["first"])
    assert re.search(rf"^search 2: two in one · run {searches['run']}$", text, re.MULTILINE)
    head, *rows, legend = table(text)
    assert head == ["maxDepth", "search 1", "±", "≈", "search 2"]
    # 0 and 1 are in both.
    assert rows == [
        ["1", "0.8500", "0.0200", "0.6000"],
        ["2", "0.8500", "0.0300", "≈"],
        ["0", "0.1500", "0.0100", "0.5000"],
        ["3", "0.3000", "0.0400", "≈"],
    ]
    assert legend == ["≈ cannot be told apart from the best of its search"]
    data = json.loads(said("compare", searches["done"], searches["first"], "--json"))
    assert [each["search_id"] for each in data["searches"]] == [
        searches["done"],
        searches["first"],
    ]
    assert data["rows"][0]["params.maxDepth"] == 1
    assert data["rows"][0]["best"]
    assert "NaN" in said("compare", searches["not finite"], searches["odd"])


def test_a_comparison_as_a_report(said, searches):
    assert said("compare", searches["done"], "two in one", "-o", "both.html") == "both.html\n"
    assert "<html" in Path("both.html").read_text()


def test_a_report_is_written_where_it_is_wanted(said, searches, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    assert said("report", "two in one", "-o", "f.html", "--open") == "f.html\n"
    assert opened == [(tmp_path / "f.html").as_uri()]
    newest = Path("f.html").read_text()
    said("report", "two in one", "-o", "f.html", "--search", searches["first"])
    assert Path("f.html").read_text() != newest
    text = said("report", "two in one", "-o", "no/such/f.html", code=2)
    assert "no/such/f.html" in text
    # Nothing could be.
    assert "lost" not in text


@pytest.fixture
def silent_server():
    """A server that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("where", ["closed port", "silent"])
def test_a_server_that_cannot_be_reached_is_code_3_within_10_seconds(silent_server, where):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    uri = f"http://me:secret@127.0.0.1:{port}" if where == "closed port" else silent_server
    began = time.monotonic()
    done = trackmllib_command("show", "x", "--tracking-uri", uri)
    assert time.monotonic() - began < 10
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("trackmllib: http://")
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


def test_a_name_that_is_not_resolved_is_waited_for_no_longer(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    began = time.monotonic()
    with pytest.raises(Unreachable, match="no answer within 1 s"):
        load_results("x", "http://a-name-that-hangs:5000")
    assert time.monotonic() - began < 10
    over.set()


def test_a_store_that_is_not_there_is_not_made(said, tmp_path):
    for uri in (f"sqlite:///{tmp_path}/no/mlflow.db", "sqlite:///no.db", str(tmp_path / "mlruns")):
        assert "there is no such" in said("searches", "--tracking-uri", uri, code=3)
    (tmp_path / "empty.db").touch()
    assert "nothing of MLflow's" in said("searches", "--tracking-uri", "sqlite:///empty.db", code=3)
    (tmp_path / "no.db").write_text("this is no database at all, whatever its name may say")
    assert "not a database" in said("searches", "--tracking-uri", "sqlite:///no.db", code=3)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "home") == ["empty.db", "no.db"]


def test_on_a_server_it_is_the_same(said, server_uri, tmp_path):
    client = MlflowClient(tracking_uri=server_uri)
    name = f"commands {uuid.uuid4()}"
    player = Player(tmp_path, server_uri, client.create_experiment(name))
    search_id = player.play(search(SCORES, AVERAGES, 1))
    server = ("--tracking-uri", server_uri)
    _, row = table(said("searches", "--experiment", name, *server))
    assert row[2:5] == ["finished", "4/4", "0.8500"]
    assert "4 of 4 settings" in said("show", row[0], *server)
    assert search_id in said("show", row[0], "--json", *server)


def on_a_terminal(command: list[str], env: dict[str, str], columns: int) -> str:
    """What a command prints on a terminal of so many columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(command, env=env, stdout=its, stderr=its, stdin=its)
    os.close(its)
    printed = b""
    # Where nobody has the other end any more, Linux says EIO, and macOS nothing.
    with contextlib.suppress(OSError):
        while some := os.read(ours, 65536):
            printed += some
    os.close(ours)
    assert process.wait(60) == 0, printed
    return printed.decode().replace("\r", "")


def test_on_a_terminal_there_are_colours_and_no_line_is_too_long(player, searches):
    env = environ(MLFLOW_TRACKING_URI=player.uri, TERM="xterm")
    for name in ("COLUMNS", "NO_COLOR"):
        env.pop(name, None)
    printed = on_a_terminal([*TRACKMLLIB, "show", searches["done"]], env, 60)
    assert "\x1b[1;32m" in printed
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert max(map(terminal.cells, plain.split("\n\n")[1].splitlines()[:5])) <= 60
    assert "left out for want of room" in plain


def test_colours_are_for_terminals_only(monkeypatch):
    assert terminal.styled("x", "bold") == "x"
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.styled("x", "bold") == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("TERM", "dumb")
    assert terminal.styled("x", "bold") == "x"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.styled("x", "bold") == "x"


def test_neither_a_reader_that_goes_away_nor_an_old_encoding_is_an_error(player, searches):
    env = environ(MLFLOW_TRACKING_URI=player.uri, PYTHONIOENCODING="ascii")
    command = shlex.join([*TRACKMLLIB, "show", searches["odd"]])
    done = finished(["bash", "-c", f"set -o pipefail; {command} | head -c 10; echo $?"], env)
    assert done.stdout in ("CrossValid0\n", "CrossValid141\n")
    assert done.stderr == ""


def test_bash_completes_verbs_and_their_options(said):
    script = said("completion", "bash")
    tries = """
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _trackmllib; echo "${COMPREPLY[*]}"; }
try trackmllib s; try trackmllib show --j; try trackmllib completion f; try trackmllib show run
"""
    done = subprocess.run(
        ["bash", "-c", script + tries], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["searches show stop status sync", "--json", "fish", ""]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_know_the_same_words(said, shell):
    script = said("completion", shell)
    for word in ("searches", "install-hook", "tracking-uri", "bash"):
        assert word in script
    assert "the settings of a search, best first" in script
    assert "tcsh" in said("completion", "tcsh", code=2)
