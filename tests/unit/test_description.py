"""The description of a main run: what it says, when it is written, and whose text it leaves."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace

import mlflow
import pytest

from searching import CTRL_C, ERROR, Search, now, plan
from trackmllib.events import Place
from trackmllib.names import GridNames
from trackmllib.operations import Describe, Destination, EndRun, OpenMainRun
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.recorder.description import MOST_CHARACTERS, markdown
from trackmllib.recorder.record import Recorder
from trackmllib.search_result import SearchResult
from trackmllib.session import Session
from trackmllib.settings import Settings
from trackmllib.testing import InMemoryStore
from trackmllib.tracking.apply import MlflowTracking
from trackmllib.tracking.notes import NOTE, with_part


def written(search: Search, at: float = 20.0) -> str:
    result = search.result
    return markdown(result, GridNames(result.description.candidates), now(at))


def rows(search: Search) -> list[str]:
    return re.findall(r"^\| \d+ \| (.*?) \|", written(search), re.MULTILINE)


# What it says.


def test_before_the_first_score():
    assert written(Search(plan(2)), 0) == (
        "**Running**: 0 of 6 cells\n\n*As of 2023-11-14 22:13:20 UTC, by trackmllib*"
    )


def test_while_it_runs():
    search = Search(plan(2)).cell(0, 0, 0.5, seconds=20).cell(1, 0, 0.75, seconds=20)
    assert written(search, 40) == (
        "**Running**: 2 of 6 cells, about 2 min left (until 2023-11-14 22:15:42 UTC)\n\n"
        "Best after 1 of 3 folds: **maxDepth=1, maxBins=1**: weightedPrecision 0.75\n\n"
        "| place | setting | weightedPrecision | folds |\n"
        "|---|---|---|---|\n"
        "| 1 | maxDepth=1, maxBins=1 | 0.75 | 1 of 3 |\n"
        "| 2 | maxDepth=0, maxBins=0 | 0.5 | 1 of 3 |\n\n"
        "*As of 2023-11-14 22:14:00 UTC, by trackmllib*"
    )


def test_in_the_refit():
    text = written(Search(plan(2)).all_cells([0.5, 0.75]).refit(1), 10)
    assert text.startswith(
        "**Running**: 6 of 6 cells, refit of the best one, about 1 s left (until"
    )
    assert "Best: **maxDepth=1, maxBins=1**: weightedPrecision 0.75 ± 0.062" in text


def test_after_the_end():
    text = written(Search(plan(2)).all_cells([0.5, 0.75]).refit(1).finish(1))
    assert text.startswith("**Finished**: 6 of 6 cells\n\nBest: **maxDepth=1, maxBins=1**")
    assert "left" not in text


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (ERROR, "**Failed** at 1 of 6 cells: ValueError&#58; no\n"),
        (CTRL_C, "**Killed** at 1 of 6 cells: KeyboardInterrupt\n"),
    ],
)
def test_of_a_search_that_failed(failure, state):
    text = written(Search(plan(2)).cell(0, 0, 0.5).fail(failure))
    assert text.startswith(state)
    assert "Best after 1 of 3 folds: **maxDepth=0, maxBins=0**: weightedPrecision 0.5" in text


def test_the_ten_best_with_nan_last_and_ties_by_number():
    scores = [math.nan, *(n % 6 / 8 for n in range(13))]
    search = Search(plan(14, folds=1)).all_cells(scores)
    wanted = sorted(range(1, 14), key=lambda i: (-scores[i], i))[:10]
    assert rows(search) == [f"maxDepth={i}, maxBins={i}" for i in wanted]
    assert "| NaN" in written(Search(plan(2, folds=1)).all_cells([math.nan, 0.5]))


def test_spark_may_take_nan():
    search = Search(plan(3)).all_cells([0.5, math.nan, 0.25]).refit(1).finish(1)
    assert (
        "\n\nSpark took **maxDepth=1, maxBins=1** (NaN); best with a score: "
        "**maxDepth=0, maxBins=0**: weightedPrecision 0.5 ± 0.062\n\n" in written(search)
    )
    assert rows(search) == [f"maxDepth={i}, maxBins={i}" for i in (0, 2, 1)]
    search = Search(plan(2)).all_cells([math.nan, math.nan]).refit(0).finish(0)
    assert "\n\nSpark took **maxDepth=0, maxBins=0** (NaN)\n\n" in written(search)


def test_one_fold_has_no_deviation():
    search = Search(plan(2, folds=1)).all_cells([0.5, 0.75]).refit(1).finish(1)
    assert "±" not in written(search)
    assert "weightedPrecision 0.75\n" in written(search)


def test_smaller_may_be_better():
    search = Search(plan(3, larger_is_better=False)).all_cells([0.5, 0.25, 0.75])
    assert rows(search) == [f"maxDepth={i}, maxBins={i}" for i in (1, 0, 2)]


def test_a_search_that_nobody_saw_is_described_from_its_model():
    text = written(Search(plan(2)).finish(1, averages=(0.5, 0.75)))
    assert text.startswith("**Finished**\n\nBest: **maxDepth=1, maxBins=1**")


HOSTILE = (
    "a|b `c` *d* _e_ **f** ~~g~~ # h",
    "<script>alert(1)</script><img src=x onerror=y>",
    "[link](http://example.com) www.example.com me@example.com @someone",
    "line\nbreak\ttab\x1b[31mred\u202eright",
    "&lt; &#124; \\| :smile: ![x](y) <!-- trackmllib a -->",
    "--> ¨T ¨D $x$ ==mark==",
    "😀" * 60,
)


def test_text_of_users_is_neither_markdown_nor_html_nor_a_link():
    search = Search(plan(7, folds=1, values=HOSTILE)).all_cells([1 / (n + 1) for n in range(7)])
    text = written(search)
    (table,) = re.findall(r"^\| place.*?\n\n", text, re.DOTALL | re.MULTILINE)
    lines = table.strip().splitlines()[2:]
    assert len(lines) == 7
    assert [line.count("|") for line in lines] == [5] * 7
    for line, value in zip(lines, HOSTILE, strict=True):
        cell = line.split(" | ")[1]
        assert not set(cell) & set("<>*_`[]~:@$\\\"'!\n\x1b\u202e|¨")
        assert "www." not in cell
        shown = html.unescape(cell).removeprefix("value=").removesuffix("…")
        assert "".join(c if c.isprintable() else " " for c in value).startswith(shown)


@pytest.mark.parametrize("char", ["|", "a", "<", "😀"])
def test_it_is_no_longer_than_it_may_be(char):
    values = [f"{n}{char * 5000}" for n in range(20)]
    description = plan(20, folds=1, values=values, metric=char * 500)
    search = Search(description).all_cells([n / 20 for n in range(20)])
    search.fail(replace(ERROR, message=char * 5000))
    text = written(search)
    assert len(text) <= MOST_CHARACTERS
    assert len(rows(search)) == 10


# When it is written.


def described(events, run_id: str | None = None) -> list[tuple[int, str]]:
    """How many cells were done, and the first word, of each description.

    A run that is made is made with the first one; on one that is there it is written.
    """
    state = SearchResult(events[0])
    recorder = Recorder(Destination(tracking_uri="memory:", run_id=run_id), state)
    found = []
    for number, event in enumerate(events):
        if number:
            state.apply(event)
        for operation in recorder.operations(event, state):
            if isinstance(operation, OpenMainRun):
                assert bool(operation.description) == (run_id is None)
            text = operation.text if isinstance(operation, Describe) else ""
            text = getattr(operation, "description", text)
            if text:
                found.append((state.cells_finished, text.split("**")[1]))
    return found


def test_it_is_written_at_the_start_at_four_crossings_at_the_refit_and_at_the_end():
    search = Search(plan(20)).all_cells([n / 20 for n in range(20)]).refit(19).finish(19)
    assert described(search.events) == [
        (0, "Running"),
        *((cells, "Running") for cells in (6, 15, 30, 45, 60)),
        (60, "Finished"),
    ]


def test_a_search_that_is_over_at_once_is_written_twice():
    search = Search(plan(2)).all_cells([0.5, 0.75], at=1.0).refit(1, at=1).finish(1, at=2)
    assert described(search.events) == [(0, "Running"), (6, "Finished")]
    assert described(search.events, "of the user") == [(0, "Running"), (6, "Finished")]


def test_a_crossing_is_one_write_where_a_cell_crosses_several():
    search = Search(plan(2, folds=1)).all_cells([0.5, 0.75]).fail()
    assert described(search.events) == [(0, "Running"), (1, "Running"), (2, "Failed")]


@pytest.mark.parametrize("way", ["process_ended", "process_died", "abandon"])
def test_every_end_is_described_before_the_run_is_ended(way):
    search = Search(plan(2)).cell(0, 0, 0.5).fail(CTRL_C)
    recorder = Recorder(Destination(tracking_uri="memory:"), search.result)
    made = [[0]] if way == "abandon" else []
    operations = list(getattr(recorder, way)(search.events[-1], search.result, *made))
    (text,) = [o.text for o in operations if isinstance(o, Describe)]
    assert text.startswith("**Killed**")
    kinds = [type(o) for o in operations if o.candidate is None]
    assert kinds.index(Describe) < kinds.index(EndRun)


def test_inner_searches_have_descriptions_of_their_own():
    store = InMemoryStore()
    session = Session(
        Settings(silent=True),
        target=store,
        destination=lambda: Destination(tracking_uri="memory:"),
    )
    outer = Search(plan(1, folds=1), "outer").begin(0, 0)
    inner = Search(plan(2), "inner", Place(search_id="outer", candidate=0, fold=0))
    inner.all_cells([0.5, 0.75]).finish(1)
    for event in [*outer.events, *inner.events, outer.fail().events[-1]]:
        session.emit(event)
    assert session.flush(10)
    found = {run.search_id: run.description for run in store.main_runs()}
    assert found["outer"].startswith("**Failed** at 0 of 1 cell")
    assert found["inner"].startswith("**Finished**: 6 of 6 cells")


# Whose text it leaves.


def part(search_id: str, text: str) -> str:
    return f"<!-- trackmllib {search_id} -->\n\n{text}\n\n<!-- /trackmllib {search_id} -->"


def test_a_search_replaces_what_it_said_and_nothing_else():
    first = with_part("", "a", "one")
    assert first == part("a", "one")
    both = with_part(first, "b", "two")
    assert both == f"{part('a', 'one')}\n\n{part('b', 'two')}"
    assert with_part(both, "a", "three") == f"{part('a', 'three')}\n\n{part('b', 'two')}"
    assert with_part(both, "b", "two") == both


def test_what_a_user_has_written_is_left_alone():
    assert with_part("my own words", "a", "one") == "my own words"
    assert with_part(" \n", "a", "one") == part("a", "one")


def test_what_a_user_adds_around_it_stays():
    note = f"Above.\n\n{part('a', 'one')}\n\n\nBetween.\n{part('b', 'x')}\nBelow.  \n"
    changed = with_part(with_part(note, "a", "two"), "b", "y")
    wanted = note.replace("one", "two").replace("\nx\n", "\ny\n")
    assert changed == wanted
    assert with_part(note, "c", "z") == f"{note.rstrip()}\n\n{part('c', 'z')}"


def test_a_mark_that_lost_its_partner_takes_nothing_with_it():
    note = "<!-- trackmllib a -->\n\nMine.\n\n" + part("b", "two")
    once = with_part(note, "a", "one")
    assert with_part(once, "a", "three") == f"{note}\n\n{part('a', 'three')}"
    note = "Mine.\n\n<!-- /trackmllib a -->"
    assert with_part(note + "\n\n" + part("b", "x"), "a", "one").startswith(note)


def test_what_is_too_long_for_mlflow_loses_the_oldest_search():
    note = ""
    for number in range(4):
        note = with_part(note, f"search{number}", f"{number}" * 2000)
    assert len(note) <= 5000
    assert re.findall(r"<!-- trackmllib (\S+)", note) == ["search2", "search3"]
    mine = "Above.\n\n" + note + "\n\n" + "m" * (5000 - len(note) - 10)
    longer = with_part(mine, "search3", "4" * 3000)
    assert re.findall(r"<!-- trackmllib (\S+)", longer) == ["search3"]
    assert longer.startswith("Above.")
    assert longer.endswith("m" * 100)
    assert len(longer) <= 5000
    full = "m" * 4950 + "\n\n" + part("gone", "")
    assert with_part(full[-5000:], "search3", "4" * 3000) == full[-5000:].split("\n\n<")[0]


# On a store.


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def client(uri):
    return mlflow.MlflowClient(uri)


def a_search(tracking, uri, search_id, run_id=None) -> None:
    destination = Destination(
        tracking_uri=uri, run_id=run_id, owned=run_id is None, experiment_id="0"
    )
    opened = OpenMainRun(search_id=search_id, destination=destination, name="n", start_ms=1)
    tracking.apply(opened)


def tracking() -> MlflowTracking:
    return MlflowTracking(lambda *_: None, MemoryOutbox())


def test_two_searches_and_the_user_describe_one_run(uri, client):
    run_id = client.create_run("0").info.run_id
    target = tracking()

    def note() -> str:
        return client.get_run(run_id).data.tags.get(NOTE, "")

    for search_id in ("a", "b"):
        a_search(target, uri, search_id, run_id)
        target.apply(Describe(search_id=search_id, text=f"of {search_id}"))
    assert note() == f"{part('a', 'of a')}\n\n{part('b', 'of b')}"
    client.set_tag(run_id, NOTE, f"Mine.\n\n{note()}")
    for again in (False, True):
        target.apply(Describe(search_id="a", text="more of a"), again=again)
    assert note() == f"Mine.\n\n{part('a', 'more of a')}\n\n{part('b', 'of b')}"
    client.delete_tag(run_id, NOTE)
    target.apply(Describe(search_id="b", text="of b"))
    assert note() == part("b", "of b")
    client.set_tag(run_id, NOTE, "All mine.")
    target.apply(Describe(search_id="b", text="of b"))
    assert note() == "All mine."


def test_a_run_of_ours_may_be_described_by_the_user_too(uri, client):
    target = tracking()
    a_search(target, uri, "ours")
    run_id = target.main_run_id("ours")
    target.apply(Describe(search_id="ours", text="x" * 4000))
    assert client.get_run(run_id).data.tags[NOTE] == part("ours", "x" * 4000)
    client.set_tag(run_id, NOTE, "Look at this one.")
    target.apply(Describe(search_id="ours", text="of ours"))
    assert client.get_run(run_id).data.tags[NOTE] == "Look at this one."


def test_an_older_description_sent_again_does_not_replace_the_last_one(uri, client):
    """After a crash of the machine the disk may have forgotten that all was delivered."""
    target = tracking()
    a_search(target, uri, "crashed")
    run_id = target.main_run_id("crashed")
    target.apply(Describe(search_id="crashed", text="finished"))
    client.log_text(run_id, "", "trackmllib/results.csv")
    target.apply(Describe(search_id="crashed", text="running"), again=True)
    assert client.get_run(run_id).data.tags[NOTE] == part("crashed", "finished")
