"""Progress of searches on terminals, in log files, and in a notebook; the clock is a fake one."""

from __future__ import annotations

import importlib
import io
import math
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import tqdm

from screen import on_screen, terminal
from searching import CTRL_C, Search, now, plan
from trackmllib.events import Place
from trackmllib.names import GridNames
from trackmllib.operations import Destination
from trackmllib.session import Session
from trackmllib.settings import Settings
from trackmllib.testing import FakeClock, InMemoryStore
from trackmllib.view import bars, progress
from trackmllib.view.progress import Progress
from trackmllib.view.shown import look

BEST = "best 0.5 (maxDepth=0, maxBins=0)"


def until(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "trackmllib-progress"]


class Watched:
    """Searches that are followed, and standard error as they find it.

    It is replaced when a search begins: between fixtures and test, pytest puts its own there.
    """

    def __init__(self, monkeypatch) -> None:
        self.stderr = sys.stderr
        self._monkeypatch = monkeypatch
        self.clock = FakeClock()
        self.progress = Progress(self.clock, every=0.01)
        self.lock = threading.Lock()
        self.begun: list[Search] = []

    def begin(self, search: Search, settings: Settings | None = None) -> Search:
        self._monkeypatch.setattr(sys, "stderr", self.stderr)
        self.begun.append(search)
        self.tell(search, search.events[0], settings)
        return search

    def end(self, search: Search) -> None:
        self.tell(search, search.events[-1])

    def tell(self, search, event, settings=None) -> None:
        self.progress.follow(event, search.result, self.lock, settings or Settings())

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        time.sleep(0.05)


@pytest.fixture
def watched(monkeypatch):
    made = Watched(monkeypatch)
    yield made
    for search in made.begun:
        made.end(search.fail())
    until(lambda: not threads())


@pytest.fixture
def log(watched):
    watched.stderr = io.StringIO()
    return watched.stderr


@pytest.fixture(params=[120, 80])
def tty(request, watched):
    with terminal(request.param) as made:
        watched.stderr = made.stream
        made.columns = request.param
        yield made


# In a log file.


def test_a_plain_line_every_30_seconds_without_carriage_returns(watched, log, capfd):
    search = watched.begin(Search(plan(2)))
    search.cell(0, 0, 0.5, seconds=2.0)
    watched.advance(2.9)
    assert log.getvalue() == ""
    watched.advance(0.2)
    first = f"trackmllib: CrossValidator: 1 of 6 cells, about 12 s left, {BEST}\n"
    until(lambda: log.getvalue() == first)
    watched.advance(29.0)
    assert log.getvalue() == first
    search.cell(1, 0, 0.25, seconds=2.0)
    watched.advance(1.1)
    second = f"trackmllib: CrossValidator: 2 of 6 cells, about 10 s left, {BEST}\n"
    until(lambda: log.getvalue() == first + second)
    search.cell(0, 1, 0.5).cell(1, 1, 0.5).cell(0, 2, 0.5).cell(1, 2, 0.5).refit(0)
    search.finish(0, at=312)
    watched.end(search)
    last = (
        "trackmllib: CrossValidator: 6 of 6 cells, finished in 5 min, "
        "best 0.5 ± 0.062 (maxDepth=0, maxBins=0)\n"
    )
    assert log.getvalue() == first + second + last
    assert capfd.readouterr().out == ""


def test_a_search_under_three_seconds_is_not_shown(watched, log):
    search = watched.begin(Search(plan(2)).all_cells([0.5, 0.25]))
    watched.advance(2.5)
    watched.end(search.finish(0))
    watched.advance(60)
    assert log.getvalue() == ""


@pytest.mark.parametrize("settings", [Settings(silent=True), Settings(progress=False)])
def test_nothing_where_silence_is_wanted(watched, log, settings):
    search = watched.begin(Search(plan(2)), settings)
    assert threads() == []
    watched.advance(60)
    watched.end(search.fail())
    assert log.getvalue() == ""


def test_where_spark_takes_nan_the_best_score_is_said_too():
    def words(search):
        result = search.result
        return look(result, GridNames(result.description.candidates), now(12)).words

    search = Search(plan(2)).all_cells([0.5, math.nan]).refit(1).finish(1)
    assert words(search) == (
        "6 of 6 cells, finished in 12 s, Spark took maxDepth=1, maxBins=1 (NaN), "
        "best with a score 0.5 ± 0.062 (maxDepth=0, maxBins=0)"
    )
    search = Search(plan(1)).all_cells([math.nan]).refit(0).finish(0)
    assert words(search).endswith("finished in 12 s, Spark took maxDepth=0, maxBins=0 (NaN)")


def test_values_cannot_write_control_characters(watched, log):
    search = watched.begin(Search(plan(1, values=["a\r\x1b[2J\nb"])).cell(0, 0, 0.5))
    watched.advance(4)
    until(lambda: "a  [2J b" in log.getvalue())
    assert log.getvalue().count("\n") == 1
    watched.end(search.fail())
    assert not set(log.getvalue()) & {"\r", "\x1b"}


def test_an_inner_search_is_a_line_only_where_it_takes_long(watched, log):
    outer = watched.begin(Search(plan(1), "outer"))
    inner = watched.begin(Search(plan(1), "inner", Place(search_id="outer")))
    short = watched.begin(Search(plan(1), "short", Place(search_id="outer")))
    watched.advance(5)
    until(lambda: log.getvalue().count("\n") == 1)
    watched.end(short.fail())
    watched.advance(40)
    until(lambda: log.getvalue().count("\n") == 3)
    watched.end(inner.fail())
    watched.end(outer.fail())
    line = "CrossValidator: 0 of 3 cells\n"
    end = "CrossValidator: stopped at 0 of 3 cells: ValueError: no\n"
    assert sorted(log.getvalue().splitlines(keepends=True)) == sorted(
        f"trackmllib: {text}" for text in (line, line, f"  {line}", f"  {end}", end)
    )


# On a terminal.


def test_a_bar_from_the_first_cell_to_the_end(watched, tty, capfd):
    wide = tty.columns == 120

    def line(filled: int, words: str) -> list[str]:
        name, width = ("CrossValidator: ", 12) if wide else ("", 6)
        bar = ("█" * (width * filled // 6)).ljust(width)
        return [f"{name}|{bar}| {words}"[: tty.columns - 1].rstrip()]

    search = watched.begin(Search(plan(2)))
    watched.advance(3)
    until(lambda: tty.screen() == line(0, "0 of 6 cells"))
    for fold in range(3):
        search.cell(0, fold, 0.5, seconds=4).cell(1, fold, 0.25, seconds=4)
    watched.advance(1)
    until(
        lambda: (
            tty.screen()
            == line(6, "6 of 6 cells, about 4 s left, " + BEST.replace(" (", " ± 0.062 ("))
        )
    )
    search.refit(0, at=1)
    watched.advance(1)
    refit = "6 of 6 cells, about 1 s left, refit of maxDepth=0, maxBins=0"
    until(lambda: tty.screen()[0].endswith(refit))
    watched.end(search.finish(0, at=9.2))
    done = "6 of 6 cells, finished in 9 s, best 0.5 ± 0.062 (maxDepth=0, maxBins=0)"
    assert tty.screen() == line(6, done)
    assert tty.raw.endswith("\n")
    assert all(len(text) < tty.columns for text in tty.screen())
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("failure", "said"), [(None, "ValueError: no"), (CTRL_C, "Keyboard")])
def test_a_failure_says_where_it_stopped(watched, tty, failure, said):
    search = watched.begin(Search(plan(2)).cell(0, 0, 0.5))
    watched.advance(3)
    until(lambda: "1 of 6" in tty.raw)
    watched.end(search.fail(**({} if failure is None else {"failure": failure})))
    assert f"stopped at 1 of 6 cells: {said}" in tty.screen()[0]


def test_two_searches_at_once_have_a_bar_each(watched, tty):
    one = watched.begin(Search(plan(2), "one"))
    watched.advance(3)
    two = watched.begin(Search(plan(3), "two"))
    watched.advance(3)
    until(lambda: len(tty.screen()) == 2)
    watched.end(one.fail())
    until(lambda: len(tty.screen()) == 2)
    assert "stopped at 0 of 6 cells" in tty.screen()[0]
    until(lambda: "| 0 of 9 cells" in tty.screen()[1])
    watched.end(two.fail())
    first, second = tty.screen()
    assert "stopped at 0 of 6 cells" in first
    assert "stopped at 0 of 9 cells" in second


def test_the_bar_of_an_inner_search_is_indented_and_goes_away(watched, tty):
    outer = watched.begin(Search(plan(2), "outer"))
    inner = watched.begin(Search(plan(1), "inner", Place(search_id="outer", candidate=0, fold=0)))
    watched.advance(3)
    until(lambda: len(tty.screen()) == 2)
    assert tty.screen()[1].startswith("  ")
    watched.end(inner.all_cells([0.5]).finish(0))
    until(lambda: len(tty.screen()) == 1)
    watched.end(outer.fail())
    assert len(tty.screen()) == 1


def test_a_search_that_nobody_saw_ends_with_a_full_bar(watched, tty):
    search = watched.begin(Search(plan(2)))
    watched.advance(3)
    until(lambda: "0 of 6" in tty.raw)
    watched.end(search.finish(1, averages=(0.25, 0.5)))
    assert "██████| finished in 12 s, best 0.5" in tty.screen()[0]


# Streams that are not as they should be.


class Broken(io.StringIO):
    def write(self, text):
        raise OSError("no space left")

    def isatty(self):
        return self.tty


def closed_stream():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", ["broken file", "broken tty", "closed", "closed later", "none"])
def test_a_broken_stderr_ends_the_bar_and_nothing_else(watched, stream):
    found = {"none": None, "closed": closed_stream()}.get(stream, Broken())
    if stream == "closed later":
        found = io.StringIO()
    if stream.startswith("broken"):
        found.tty = stream == "broken tty"
    watched.stderr = found
    search = watched.begin(Search(plan(2)))
    watched.advance(4)
    if stream == "closed later":
        until(lambda: "0 of 6" in found.getvalue())
        found.close()
    began = time.monotonic()
    watched.end(search.fail())
    assert time.monotonic() - began < 1.0


def test_a_broken_stderr_leaves_the_lock_of_the_users_own_bars_free(watched, monkeypatch):
    lock = threading.RLock()
    monkeypatch.setattr(tqdm.tqdm, "_lock", lock, raising=False)
    watched.stderr = Broken()
    watched.stderr.tty = True
    search = watched.begin(Search(plan(2)))
    watched.advance(4)
    watched.end(search.fail())
    assert lock.acquire(timeout=1.0)
    lock.release()


def test_stderr_is_looked_at_anew_at_each_search(watched):
    for _ in range(2):
        stream = watched.stderr = io.StringIO()
        search = watched.begin(Search(plan(2)))
        watched.advance(4)
        until(stream.getvalue)
        watched.end(search.fail())
        assert stream.getvalue().count("\n") == 2


def test_a_terminal_that_takes_nothing_holds_fit_up_for_a_while_only(watched, monkeypatch):
    free = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text):
            free.wait(10)

    watched.stderr = Stuck()
    monkeypatch.setattr(progress, "FINISHED_WITHIN_SECONDS", 0.1)
    search = watched.begin(Search(plan(2)))
    watched.advance(4)
    with watched.lock:
        # It waits for the terminal, and holds no lock meanwhile.
        search.cell(0, 0, 0.5)
    began = time.monotonic()
    watched.end(search.fail())
    assert 0.1 <= time.monotonic() - began < 1.0
    free.set()


# In a notebook.


@pytest.fixture
def in_a_notebook(monkeypatch):
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_in_a_notebook_without_widgets_it_is_a_line_and_no_warning(
    watched, log, in_a_notebook, monkeypatch, recwarn
):
    monkeypatch.setattr(bars, "find_spec", lambda name: None)
    search = watched.begin(Search(plan(2)))
    watched.advance(4)
    until(lambda: "0 of 6 cells" in log.getvalue())
    watched.end(search.fail())
    assert on_screen(log.getvalue())[-1].endswith("stopped at 0 of 6 cells: ValueError: no")
    assert list(recwarn) == []


def test_in_a_notebook_with_widgets_nothing_is_written(watched, log, monkeypatch, capfd):
    notebook = importlib.import_module("tqdm.notebook")
    shown = []
    monkeypatch.setattr(bars, "_in_notebook", lambda: True)
    monkeypatch.setattr(notebook, "display", shown.append, raising=False)
    search = watched.begin(Search(plan(1, folds=2, values=["<b>"])))
    watched.advance(4)
    until(lambda: shown)
    (box,) = shown
    name, bar, words = box.children
    search.cell(0, 0, 0.5)
    until(lambda: bar.value == 1)
    until(lambda: "best" in words.value)
    assert name.value.strip().startswith("CrossValidator:")
    assert "&lt;b&gt;" in words.value
    watched.end(search.fail())
    assert bar.bar_style == "danger"
    assert "stopped" in words.value
    assert log.getvalue() == ""
    assert capfd.readouterr().out == ""


# Threads and imports.


def test_no_thread_is_left_and_a_search_later_has_one_again(watched, log):
    for _ in range(2):
        one = watched.begin(Search(plan(2), "one"))
        two = watched.begin(Search(plan(2), "two"))
        assert len(threads()) == 1
        watched.advance(4)
        until(lambda: log.getvalue().count("\n") == 2)
        watched.end(one.fail())
        assert len(threads()) == 1
        watched.end(two.fail())
        until(lambda: not threads())
        log.seek(0)
        log.truncate()


def test_tqdm_is_not_imported_before_there_is_a_bar():
    code = "import sys, trackmllib.view.progress; print('tqdm' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_session_shows_its_searches_and_fit_ends_after_the_bar(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    clock = FakeClock()
    store = InMemoryStore()
    session = Session(
        Settings(strict=True),
        clock=clock,
        target=store,
        destination=lambda: Destination(tracking_uri="memory:"),
    )
    search = Search(plan(2)).all_cells([0.5, 0.25]).refit(0).finish(0)
    *before, last = search.events
    for event in before:
        session.emit(event)
    clock.advance(4)
    until(lambda: "refit of" in log.getvalue())
    session.emit(last)
    assert log.getvalue().splitlines()[-1].startswith("trackmllib: CrossValidator: 6 of 6 cells, f")
    assert store.main_runs()[0].status == "FINISHED"
