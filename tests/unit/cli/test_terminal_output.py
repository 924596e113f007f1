"""Width, colors, control characters and encoding of the output."""

from __future__ import annotations

import re
import shlex

import pytest
from mlflow import MlflowClient

from support.commands import TRACKMLLIB, environ, finished, on_terminal
from trackmllib.support import formatting


@pytest.mark.parametrize("room", [40, 60, 80, 120])
def test_table_fits_width_with_any_params(invoke, searches, monkeypatch, room):
    monkeypatch.setenv("COLUMNS", str(room))
    text = invoke("show", searches["odd"])
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "‮" not in text
    head, *lines = text.split("\n\n")[1].splitlines()
    widths = [formatting.display_width(line) for line in (head, *lines[:5])]
    assert max(widths) <= room
    assert "maxDepth" in head
    assert "weightedPrecision" in head
    # The averages are aligned, whatever precedes them.
    ends = {formatting.display_width(line[: line.index("0.1500") + 6]) for line in lines[:5]}
    assert ends == {formatting.display_width(head[: head.index("weightedPrecision") + 17])}
    assert "xxx…" in text


@pytest.mark.slow
def test_table_on_terminal_has_colors_and_fits(player, searches):
    env = environ(MLFLOW_TRACKING_URI=player.uri, TERM="xterm")
    for name in ("COLUMNS", "NO_COLOR"):
        env.pop(name, None)
    printed = on_terminal([*TRACKMLLIB, "show", searches["done"]], env, 60)
    assert "\x1b[32m\x1b[1m" in printed
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert max(map(formatting.display_width, plain.split("\n\n")[1].splitlines()[:5])) <= 60
    assert "omitted, too wide for the terminal: " in plain


@pytest.mark.slow
def test_show_highlights_winner_of_answer(player, searches):
    env = environ(MLFLOW_TRACKING_URI=player.uri, TERM="xterm")
    for name in ("COLUMNS", "NO_COLOR"):
        env.pop(name, None)
    printed = on_terminal([*TRACKMLLIB, "show", searches["not finite"]], env, 120)
    highlighted = [line for line in printed.splitlines() if line.startswith("\x1b[32m\x1b[1m")]
    assert ["inf" in line for line in highlighted] == [True]


@pytest.mark.parametrize(
    ("is_terminal", "variables", "has_colors"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colors_only_on_terminal_and_if_allowed(
    invoke, searches, monkeypatch, is_terminal, variables, has_colors
):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    text = invoke("show", searches["done"])
    assert ("\x1b[32m\x1b[1m" in text) == has_colors
    assert ("\x1b" in text) == has_colors


@pytest.mark.slow
def test_csv_on_terminal_has_no_control_characters(player, searches):
    env = environ(MLFLOW_TRACKING_URI=player.uri, TERM="xterm")
    printed = on_terminal([*TRACKMLLIB, "show", searches["odd"], "--csv"], env, 80)
    assert "\x1b" not in printed
    assert "␛[31m" in printed


def test_errors_have_no_control_characters(invoke, player):
    """Names and ids of runs are tags, which other people can write."""
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
        printed = invoke(*arguments, code=2)
        assert all(each.isprintable() or each == "\n" for each in printed), printed
    client.delete_run(run)


@pytest.mark.slow
def test_broken_pipe_and_ascii_encoding_are_no_errors(player, searches):
    env = environ(MLFLOW_TRACKING_URI=player.uri, PYTHONIOENCODING="ascii")
    command = shlex.join([*TRACKMLLIB, "show", searches["odd"]])
    done = finished(["bash", "-c", f"set -o pipefail; {command} | head -c 10; echo $?"], env)
    assert done.stdout in ("CrossValid0\n", "CrossValid141\n")
    assert done.stderr == ""


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_to_closed_pipe_and_full_disk_has_no_traceback(option):
    command = shlex.join([*TRACKMLLIB, option])
    done = finished(["bash", "-c", f"set -o pipefail; {command} | true; echo $?"], environ())
    assert done.stdout in ("0\n", "141\n")
    assert done.stderr == ""
    done = finished(["bash", "-c", f"{command} >/dev/full; echo $?"], environ())
    assert done.stdout == "2\n"
    assert done.stderr == "trackmllib: [Errno 28] No space left on device\n"


def test_closed_output_is_no_error():
    command = shlex.join([*TRACKMLLIB, "status", "--json"])
    done = finished(["bash", "-c", f"{command} >&-; echo $? >&2"], environ())
    assert done.stderr == "0\n"
