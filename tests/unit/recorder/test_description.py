"""Description of a parent run: its text, when it is set, and the text of users that stays."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace

import mlflow
import pytest

from support.scripted_search import CTRL_C, ERROR, Search, now
from support.search_descriptions import describe, grid
from support.search_states import searched
from support.sqlite_store import sqlite_store
from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import ParentFit
from trackmllib.domain.operations import Destination, EndRun, OpenParentRun, SetDescription
from trackmllib.domain.search_state import SearchState
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.recorder.description import MOST_CHARACTERS, markdown
from trackmllib.recorder.translator import Recorder
from trackmllib.runtime.session import Session
from trackmllib.testing import InMemoryStore
from trackmllib.tracking.description import NOTE, merge_section
from trackmllib.tracking.executor import MlflowExecutor

pytestmark = pytest.mark.versions


def written(search: Search, at: float = 20.0) -> str:
    result = search.result
    return markdown(result, now(at))


def rows(search: Search) -> list[str]:
    return re.findall(r"^\| \d+ \| (.*?) \|", written(search), re.MULTILINE)


# Contents.


def test_description_before_the_first_score():
    assert written(Search(describe(2)), 0) == (
        "**Running**: 0 of 6 fits\n\n*As of 2023-11-14 22:13:20 UTC, by trackmllib*"
    )


def test_description_of_a_running_search():
    search = Search(describe(2)).fold_fit(0, 0, 0.5, seconds=20).fold_fit(1, 0, 0.75, seconds=20)
    assert written(search, 40) == (
        "**Running**: 2 of 6 fits, about 2 min left (until 2023-11-14 22:15:42 UTC)\n\n"
        "Best after 1 of 3 folds: **maxDepth=1, maxBins=1**: weightedPrecision 0.7500\n\n"
        "| rank | candidate | weightedPrecision | folds |\n"
        "|---|---|---|---|\n"
        "| 1 | maxDepth=1, maxBins=1 | 0.7500 | 1 of 3 |\n"
        "| 2 | maxDepth=0, maxBins=0 | 0.5000 | 1 of 3 |\n\n"
        "*As of 2023-11-14 22:14:00 UTC, by trackmllib*"
    )


def test_description_in_the_refit():
    text = written(Search(describe(2)).all_fits([0.5, 0.75]).refit(1), 10)
    assert text.startswith("**Running**: 6 of 6 fits, refit of the best one, about 1 s left (until")
    assert "Best: **maxDepth=1, maxBins=1**: weightedPrecision 0.750 ± 0.070" in text


def test_description_after_the_end():
    text = written(Search(describe(2)).all_fits([0.5, 0.75]).refit(1).finish(1))
    assert text.startswith("**Finished**: 6 of 6 fits\n\nBest: **maxDepth=1, maxBins=1**")
    assert "left" not in text


def test_description_names_further_metrics_of_the_best():
    rows = [[0.5, 0.6, 0.5, 0.6, 0.55], [0.7, 0.8, 0.7, 0.8, 0.75]]
    further = {"f1": rows, "train_<b>": [[0.9, 1.0, 0.9, 1.0, 0.95], [1.0, None, 1.0, 1.0, 1.0]]}
    text = markdown(searched(grid(x=[1, 2]), rows, further=further), now(20))
    best = (
        "Best: **x=2**: weightedPrecision 0.750 ± 0.034; the other one is significantly different"
    )
    assert (
        f"{best} from the best (corrected resampled t-test, 5 folds)\n\n"
        "Further metrics of the best candidate: f1 0.750 ± 0.034\n\n|" in text
    )
    chosen = searched(grid(x=[1, 2]), rows, further=further, best=0)
    line = "best candidate: f1 0.550 ± 0.034, train&#95;&#60;b&#62; 0.950 ± 0.034\n"
    assert line in markdown(chosen, now(20))
    # The candidate that leads has no averages yet.
    leads = searched(
        grid(x=[1, 2]), [[0.5] + [None] * 4, [0.7] + [None] * 4], further=further, end=None
    )
    assert "Further" not in markdown(leads, now(20))


def test_description_with_many_further_metrics_fits():
    rows = [[0.5, 0.6]] * 30
    further = {f"{i}" + "<" * 100: rows for i in range(40)}
    maps = grid(x=[f"{i}" + "[" * 200 for i in range(30)])
    text = markdown(searched(maps, rows, further=further), now(20))
    assert ", and 30 more\n" in text
    assert len(text) <= MOST_CHARACTERS


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (ERROR, "**Failed** at 1 of 6 fits: ValueError&#58; no\n"),
        (CTRL_C, "**Killed** at 1 of 6 fits: KeyboardInterrupt\n"),
    ],
)
def test_description_of_a_failed_search(failure, state):
    text = written(Search(describe(2)).fold_fit(0, 0, 0.5).fail(failure))
    assert text.startswith(state)
    assert "Best after 1 of 3 folds: **maxDepth=0, maxBins=0**: weightedPrecision 0.5000" in text


def test_table_has_the_ten_best_with_nan_last():
    scores = [math.nan, *(n % 6 / 8 for n in range(13))]
    search = Search(describe(14, folds=1)).all_fits(scores)
    wanted = sorted(range(1, 14), key=lambda i: (-scores[i], i))[:10]
    assert rows(search) == [f"maxDepth={i}, maxBins={i}" for i in wanted]
    assert "| NaN" in written(Search(describe(2, folds=1)).all_fits([math.nan, 0.5]))


def test_winner_with_nan_is_named():
    search = Search(describe(3)).all_fits([0.5, math.nan, 0.25]).refit(1).finish(1)
    assert (
        "\n\nSpark chose **maxDepth=1, maxBins=1** (NaN); best with a score: "
        "**maxDepth=0, maxBins=0**: weightedPrecision 0.500 ± 0.070\n\n" in written(search)
    )
    assert rows(search) == [f"maxDepth={i}, maxBins={i}" for i in (0, 2, 1)]
    search = Search(describe(2)).all_fits([math.nan, math.nan]).refit(0).finish(0)
    assert "\n\nSpark chose **maxDepth=0, maxBins=0** (NaN)\n\n" in written(search)


def test_one_fold_has_no_deviation():
    search = Search(describe(2, folds=1)).all_fits([0.5, 0.75]).refit(1).finish(1)
    assert "±" not in written(search)
    assert "weightedPrecision 0.7500\n" in written(search)


def test_smaller_score_leads_if_it_is_better():
    search = Search(describe(3, larger_is_better=False)).all_fits([0.5, 0.25, 0.75])
    assert rows(search) == [f"maxDepth={i}, maxBins={i}" for i in (1, 0, 2)]


def test_unobserved_search_is_described_from_its_model():
    text = written(Search(describe(2)).finish(1, averages=(0.5, 0.75)))
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


def test_text_of_users_is_escaped():
    search = Search(describe(7, folds=1, values=HOSTILE)).all_fits([1 / (n + 1) for n in range(7)])
    text = written(search)
    (table,) = re.findall(r"^\| rank.*?\n\n", text, re.DOTALL | re.MULTILINE)
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
def test_description_is_not_too_long(char):
    values = [f"{n}{char * 5000}" for n in range(20)]
    description = describe(20, folds=1, values=values, metric=char * 500)
    search = Search(description).all_fits([n / 20 for n in range(20)])
    search.fail(replace(ERROR, message=char * 5000))
    text = written(search)
    assert len(text) <= MOST_CHARACTERS
    assert len(rows(search)) == 10


# When it is set.


def described(events, run_id: str | None = None) -> list[tuple[int, str]]:
    """Return the number of finished fits and the first word of each description.

    A new run is created with the first description; on an existing run it is set.
    """
    state = SearchState(events[0])
    recorder = Recorder(Destination(tracking_uri="memory:", run_id=run_id))
    found = []
    for number, event in enumerate(events):
        if number:
            state.apply(event)
        for operation in recorder.operations(event, state):
            if isinstance(operation, OpenParentRun):
                assert bool(operation.description) == (run_id is None)
            text = operation.text if isinstance(operation, SetDescription) else ""
            text = getattr(operation, "description", text)
            if text:
                found.append((state.fits_finished, text.split("**")[1]))
    return found


def test_description_is_set_at_milestones():
    search = Search(describe(20)).all_fits([n / 20 for n in range(20)]).refit(19).finish(19)
    assert described(search.events) == [
        (0, "Running"),
        *((fits, "Running") for fits in (6, 15, 30, 45, 60)),
        (60, "Finished"),
    ]


def test_short_search_is_described_twice():
    search = Search(describe(2)).all_fits([0.5, 0.75], at=1.0).refit(1, at=1).finish(1, at=2)
    assert described(search.events) == [(0, "Running"), (6, "Finished")]
    assert described(search.events, "of the user") == [(0, "Running"), (6, "Finished")]


def test_fit_that_passes_several_milestones_sets_one_description():
    search = Search(describe(2, folds=1)).all_fits([0.5, 0.75]).fail()
    assert described(search.events) == [(0, "Running"), (1, "Running"), (2, "Failed")]


@pytest.mark.parametrize("way", ["process_ended", "process_died", "abandon"])
def test_description_is_set_before_the_run_ends(way):
    search = Search(describe(2)).fold_fit(0, 0, 0.5).fail(CTRL_C)
    recorder = Recorder(Destination(tracking_uri="memory:"))
    made = [[0]] if way == "abandon" else []
    operations = list(getattr(recorder, way)(search.events[-1], search.result, *made))
    (text,) = [o.text for o in operations if isinstance(o, SetDescription)]
    assert text.startswith("**Killed**")
    kinds = [type(o) for o in operations if o.candidate is None]
    assert kinds.index(SetDescription) < kinds.index(EndRun)


def test_inner_searches_have_their_own_descriptions():
    store = InMemoryStore()
    session = Session(
        Settings(silent=True),
        target=store,
        destination=lambda: Destination(tracking_uri="memory:"),
    )
    outer = Search(describe(1, folds=1), "outer").begin(0, 0)
    inner = Search(describe(2), "inner", ParentFit(search_id="outer", candidate=0, fold=0))
    inner.all_fits([0.5, 0.75]).finish(1)
    for event in [*outer.events, *inner.events, outer.fail().events[-1]]:
        session.callbacks.emit(event)
    assert session.flush(10)
    found = {run.search_id: run.description for run in store.parent_runs()}
    assert found["outer"].startswith("**Failed** at 0 of 1 fit")
    assert found["inner"].startswith("**Finished**: 6 of 6 fits")


# Text of the user.


def part(search_id: str, text: str) -> str:
    return f"<!-- trackmllib {search_id} -->\n\n{text}\n\n<!-- /trackmllib {search_id} -->"


def test_search_replaces_only_its_own_part():
    first = merge_section("", "a", "one")
    assert first == part("a", "one")
    both = merge_section(first, "b", "two")
    assert both == f"{part('a', 'one')}\n\n{part('b', 'two')}"
    assert merge_section(both, "a", "three") == f"{part('a', 'three')}\n\n{part('b', 'two')}"
    assert merge_section(both, "b", "two") == both


def test_text_of_the_user_stays():
    assert merge_section("my own words", "a", "one") == "my own words"
    assert merge_section(" \n", "a", "one") == part("a", "one")


def test_text_that_the_user_adds_around_it_stays():
    note = f"Above.\n\n{part('a', 'one')}\n\n\nBetween.\n{part('b', 'x')}\nBelow.  \n"
    changed = merge_section(merge_section(note, "a", "two"), "b", "y")
    wanted = note.replace("one", "two").replace("\nx\n", "\ny\n")
    assert changed == wanted
    assert merge_section(note, "c", "z") == f"{note.rstrip()}\n\n{part('c', 'z')}"


def test_unpaired_marker_removes_nothing():
    note = "<!-- trackmllib a -->\n\nMine.\n\n" + part("b", "two")
    once = merge_section(note, "a", "one")
    assert merge_section(once, "a", "three") == f"{note}\n\n{part('a', 'three')}"
    note = "Mine.\n\n<!-- /trackmllib a -->"
    assert merge_section(note + "\n\n" + part("b", "x"), "a", "one").startswith(note)


def test_too_long_description_loses_the_oldest_search():
    note = ""
    for number in range(4):
        note = merge_section(note, f"search{number}", f"{number}" * 2000)
    assert len(note) <= 5000
    assert re.findall(r"<!-- trackmllib (\S+)", note) == ["search2", "search3"]
    mine = "Above.\n\n" + note + "\n\n" + "m" * (5000 - len(note) - 10)
    longer = merge_section(mine, "search3", "4" * 3000)
    assert re.findall(r"<!-- trackmllib (\S+)", longer) == ["search3"]
    assert longer.startswith("Above.")
    assert longer.endswith("m" * 100)
    assert len(longer) <= 5000
    full = "m" * 4950 + "\n\n" + part("gone", "")
    assert merge_section(full[-5000:], "search3", "4" * 3000) == full[-5000:].split("\n\n<")[0]


# On a store.


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return sqlite_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def client(uri):
    return mlflow.MlflowClient(uri)


def a_search(tracking, uri, search_id, run_id=None) -> None:
    destination = Destination(
        tracking_uri=uri, run_id=run_id, owned=run_id is None, experiment_id="0"
    )
    opened = OpenParentRun(search_id=search_id, destination=destination, name="n", start_ms=1)
    tracking.apply(opened)


def tracking() -> MlflowExecutor:
    return MlflowExecutor(lambda *_: None, MemoryOutbox())


def test_two_searches_and_the_user_describe_one_run(uri, client):
    run_id = client.create_run("0").info.run_id
    target = tracking()

    def note() -> str:
        return client.get_run(run_id).data.tags.get(NOTE, "")

    for search_id in ("a", "b"):
        a_search(target, uri, search_id, run_id)
        target.apply(SetDescription(search_id=search_id, text=f"of {search_id}"))
    assert note() == f"{part('a', 'of a')}\n\n{part('b', 'of b')}"
    client.set_tag(run_id, NOTE, f"Mine.\n\n{note()}")
    for again in (False, True):
        target.apply(SetDescription(search_id="a", text="more of a"), redelivered=again)
    assert note() == f"Mine.\n\n{part('a', 'more of a')}\n\n{part('b', 'of b')}"
    client.delete_tag(run_id, NOTE)
    target.apply(SetDescription(search_id="b", text="of b"))
    assert note() == part("b", "of b")
    client.set_tag(run_id, NOTE, "All mine.")
    target.apply(SetDescription(search_id="b", text="of b"))
    assert note() == "All mine."


def test_user_may_describe_a_run_of_ours(uri, client):
    target = tracking()
    a_search(target, uri, "ours")
    run_id = target.parent_run_id("ours")
    target.apply(SetDescription(search_id="ours", text="x" * 4000))
    assert client.get_run(run_id).data.tags[NOTE] == part("ours", "x" * 4000)
    client.set_tag(run_id, NOTE, "Look at this one.")
    target.apply(SetDescription(search_id="ours", text="of ours"))
    assert client.get_run(run_id).data.tags[NOTE] == "Look at this one."


def test_redelivered_description_does_not_replace_the_last_one(uri, client):
    """A crash of the machine may lose the acknowledgement of a delivered row."""
    target = tracking()
    a_search(target, uri, "crashed")
    run_id = target.parent_run_id("crashed")
    target.apply(SetDescription(search_id="crashed", text="finished"))
    client.log_text(run_id, "", "trackmllib/results.csv")
    target.apply(SetDescription(search_id="crashed", text="running"), redelivered=True)
    assert client.get_run(run_id).data.tags[NOTE] == part("crashed", "finished")
