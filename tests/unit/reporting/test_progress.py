"""Progress bars on terminals, in log files and in notebooks."""

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

from support.scripted_search import CTRL_C, Search, now
from support.search_descriptions import describe
from support.terminal import on_screen, terminal
from support.waiting import wait_until
from trackmllib.config.settings import Settings
from trackmllib.domain.descriptions import ParentFit
from trackmllib.domain.naming import GridNames
from trackmllib.domain.operations import Destination
from trackmllib.reporting.progress import bars, display
from trackmllib.reporting.progress.display import Progress
from trackmllib.reporting.progress.status_line import status_line
from trackmllib.runtime.session import Session
from trackmllib.testing import FakeClock, InMemoryStore

pytestmark = pytest.mark.versions

BEST = "best 0.5000 (maxDepth=0, maxBins=0)"


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "trackmllib-progress"]


class Watched:
    """Searches that a Progress follows, and the standard error that they use.

    ``begin`` sets it, because pytest sets its own between fixtures and test.
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
        self.follow(search, search.events[0], settings)
        return search

    def end(self, search: Search) -> None:
        self.follow(search, search.events[-1])

    def follow(self, search, event, settings=None) -> None:
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
    wait_until(lambda: not threads())


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


def test_log_file_gets_a_line_every_30_seconds(watched, log, capfd):
    search = watched.begin(Search(describe(2)))
    search.fold_fit(0, 0, 0.5, seconds=2.0)
    watched.advance(2.9)
    assert log.getvalue() == ""
    watched.advance(0.2)
    first = f"trackmllib: CrossValidator: 1 of 6 fits, about 12 s left, {BEST}\n"
    wait_until(lambda: log.getvalue() == first)
    watched.advance(29.0)
    assert log.getvalue() == first
    search.fold_fit(1, 0, 0.25, seconds=2.0)
    watched.advance(1.1)
    second = f"trackmllib: CrossValidator: 2 of 6 fits, about 10 s left, {BEST}\n"
    wait_until(lambda: log.getvalue() == first + second)
    search.fold_fit(0, 1, 0.5).fold_fit(1, 1, 0.5).fold_fit(0, 2, 0.5).fold_fit(1, 2, 0.5).refit(0)
    search.finish(0, at=312)
    watched.end(search)
    last = (
        "trackmllib: CrossValidator: 6 of 6 fits, finished in 5 min, "
        "best 0.500 ± 0.070 (maxDepth=0, maxBins=0)\n"
    )
    assert log.getvalue() == first + second + last
    assert capfd.readouterr().out == ""


def test_search_under_three_seconds_has_no_bar(watched, log):
    search = watched.begin(Search(describe(2)).all_fits([0.5, 0.25]))
    watched.advance(2.5)
    watched.end(search.finish(0))
    watched.advance(60)
    assert log.getvalue() == ""


@pytest.mark.parametrize("settings", [Settings(silent=True), Settings(progress=False)])
def test_silent_search_has_no_bar(watched, log, settings):
    search = watched.begin(Search(describe(2)), settings)
    assert threads() == []
    watched.advance(60)
    watched.end(search.fail())
    assert log.getvalue() == ""


def test_nan_winner_is_shown_with_the_best_score():
    def words(search):
        result = search.result
        return status_line(result, GridNames(result.description.candidates), now(12)).text

    search = Search(describe(2)).all_fits([0.5, math.nan]).refit(1).finish(1)
    assert words(search) == (
        "6 of 6 fits, finished in 12 s, Spark chose maxDepth=1, maxBins=1 (NaN), "
        "best with a score 0.500 ± 0.070 (maxDepth=0, maxBins=0)"
    )
    search = Search(describe(1)).all_fits([math.nan]).refit(0).finish(0)
    assert words(search).endswith("finished in 12 s, Spark chose maxDepth=0, maxBins=0 (NaN)")


def test_values_cannot_write_control_characters(watched, log):
    search = watched.begin(Search(describe(1, values=["a\r\x1b[2J\nb"])).fold_fit(0, 0, 0.5))
    watched.advance(4)
    wait_until(lambda: "a  [2J b" in log.getvalue())
    assert log.getvalue().count("\n") == 1
    watched.end(search.fail())
    assert not set(log.getvalue()) & {"\r", "\x1b"}


def test_inner_search_has_a_line_only_if_it_takes_long(watched, log):
    outer = watched.begin(Search(describe(1), "outer"))
    inner = watched.begin(Search(describe(1), "inner", ParentFit(search_id="outer")))
    short = watched.begin(Search(describe(1), "short", ParentFit(search_id="outer")))
    watched.advance(5)
    wait_until(lambda: log.getvalue().count("\n") == 1)
    watched.end(short.fail())
    watched.advance(40)
    wait_until(lambda: log.getvalue().count("\n") == 3)
    watched.end(inner.fail())
    watched.end(outer.fail())
    line = "CrossValidator: 0 of 3 fits\n"
    end = "CrossValidator: stopped at 0 of 3 fits: ValueError: no\n"
    assert sorted(log.getvalue().splitlines(keepends=True)) == sorted(
        f"trackmllib: {text}" for text in (line, line, f"  {line}", f"  {end}", end)
    )


# On a terminal.


def test_bar_from_first_fit_to_end(watched, tty, capfd):
    wide = tty.columns == 120

    def line(filled: int, words: str) -> list[str]:
        name, width = ("CrossValidator: ", 12) if wide else ("", 6)
        bar = ("█" * (width * filled // 6)).ljust(width)
        return [f"{name}|{bar}| {words}"[: tty.columns - 1].rstrip()]

    search = watched.begin(Search(describe(2)))
    watched.advance(3)
    wait_until(lambda: tty.screen() == line(0, "0 of 6 fits"))
    for fold in range(3):
        search.fold_fit(0, fold, 0.5, seconds=4).fold_fit(1, fold, 0.25, seconds=4)
    watched.advance(1)
    wait_until(
        lambda: (
            tty.screen()
            == line(6, "6 of 6 fits, about 4 s left, " + BEST.replace("0.5000", "0.500 ± 0.070"))
        )
    )
    search.refit(0, at=1)
    watched.advance(1)
    refit = "6 of 6 fits, about 1 s left, refit of maxDepth=0, maxBins=0"
    wait_until(lambda: tty.screen()[0].endswith(refit))
    watched.end(search.finish(0, at=9.2))
    done = "6 of 6 fits, finished in 9 s, best 0.500 ± 0.070 (maxDepth=0, maxBins=0)"
    assert tty.screen() == line(6, done)
    assert tty.raw.endswith("\n")
    assert all(len(text) < tty.columns for text in tty.screen())
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("failure", "expected"), [(None, "ValueError: no"), (CTRL_C, "Keyboard")])
def test_failed_search_shows_where_it_stopped(watched, tty, failure, expected):
    search = watched.begin(Search(describe(2)).fold_fit(0, 0, 0.5))
    watched.advance(3)
    wait_until(lambda: "1 of 6" in tty.raw)
    watched.end(search.fail(**({} if failure is None else {"failure": failure})))
    assert f"stopped at 1 of 6 fits: {expected}" in tty.screen()[0]


def test_concurrent_searches_have_a_bar_each(watched, tty):
    one = watched.begin(Search(describe(2), "one"))
    watched.advance(3)
    two = watched.begin(Search(describe(3), "two"))
    watched.advance(3)
    wait_until(lambda: len(tty.screen()) == 2)
    watched.end(one.fail())
    wait_until(lambda: len(tty.screen()) == 2)
    assert "stopped at 0 of 6 fits" in tty.screen()[0]
    wait_until(lambda: "| 0 of 9 fits" in tty.screen()[1])
    watched.end(two.fail())
    first, second = tty.screen()
    assert "stopped at 0 of 6 fits" in first
    assert "stopped at 0 of 9 fits" in second


def test_bar_of_inner_search_is_indented_and_disappears(watched, tty):
    outer = watched.begin(Search(describe(2), "outer"))
    inner = watched.begin(
        Search(describe(1), "inner", ParentFit(search_id="outer", candidate=0, fold=0))
    )
    watched.advance(3)
    wait_until(lambda: len(tty.screen()) == 2)
    assert tty.screen()[1].startswith("  ")
    watched.end(inner.all_fits([0.5]).finish(0))
    wait_until(lambda: len(tty.screen()) == 1)
    watched.end(outer.fail())
    assert len(tty.screen()) == 1


def test_search_without_seen_fits_ends_with_a_full_bar(watched, tty):
    search = watched.begin(Search(describe(2)))
    watched.advance(3)
    wait_until(lambda: "0 of 6" in tty.raw)
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
def test_broken_stderr_only_ends_the_bar(watched, stream):
    found = {"none": None, "closed": closed_stream()}.get(stream, Broken())
    if stream == "closed later":
        found = io.StringIO()
    if stream.startswith("broken"):
        found.tty = stream == "broken tty"
    watched.stderr = found
    search = watched.begin(Search(describe(2)))
    watched.advance(4)
    if stream == "closed later":
        wait_until(lambda: "0 of 6" in found.getvalue())
        found.close()
    began = time.monotonic()
    watched.end(search.fail())
    assert time.monotonic() - began < 1.0


def test_broken_stderr_releases_the_lock_of_tqdm(watched, monkeypatch):
    lock = threading.RLock()
    monkeypatch.setattr(tqdm.tqdm, "_lock", lock, raising=False)
    watched.stderr = Broken()
    watched.stderr.tty = True
    search = watched.begin(Search(describe(2)))
    watched.advance(4)
    watched.end(search.fail())
    assert lock.acquire(timeout=1.0)
    lock.release()


def test_each_search_uses_the_present_stderr(watched):
    for _ in range(2):
        stream = watched.stderr = io.StringIO()
        search = watched.begin(Search(describe(2)))
        watched.advance(4)
        wait_until(stream.getvalue)
        watched.end(search.fail())
        assert stream.getvalue().count("\n") == 2


def test_stuck_terminal_delays_fit_only_briefly(watched, monkeypatch):
    free = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text):
            free.wait(10)

    watched.stderr = Stuck()
    monkeypatch.setattr(display, "FINISH_WITHIN_SECONDS", 0.1)
    search = watched.begin(Search(describe(2)))
    watched.advance(4)
    with watched.lock:
        # It waits for the terminal, and holds no lock meanwhile.
        search.fold_fit(0, 0, 0.5)
    began = time.monotonic()
    watched.end(search.fail())
    assert 0.1 <= time.monotonic() - began < 1.0
    free.set()


# In a notebook.


@pytest.fixture
def in_a_notebook(monkeypatch):
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_notebook_without_widgets_shows_a_line_and_no_warning(
    watched, log, in_a_notebook, monkeypatch, recwarn
):
    monkeypatch.setattr(bars, "find_spec", lambda name: None)
    search = watched.begin(Search(describe(2)))
    watched.advance(4)
    wait_until(lambda: "0 of 6 fits" in log.getvalue())
    watched.end(search.fail())
    assert on_screen(log.getvalue())[-1].endswith("stopped at 0 of 6 fits: ValueError: no")
    assert list(recwarn) == []


def test_notebook_with_widgets_writes_nothing(watched, log, monkeypatch, capfd):
    notebook = importlib.import_module("tqdm.notebook")
    shown = []
    monkeypatch.setattr(bars, "_in_notebook", lambda: True)
    monkeypatch.setattr(notebook, "display", shown.append, raising=False)
    search = watched.begin(Search(describe(1, folds=2, values=["<b>"])))
    watched.advance(4)
    wait_until(lambda: shown)
    (box,) = shown
    name, bar, words = box.children
    search.fold_fit(0, 0, 0.5)
    wait_until(lambda: bar.value == 1)
    wait_until(lambda: "best" in words.value)
    assert name.value.strip().startswith("CrossValidator:")
    assert "&lt;b&gt;" in words.value
    watched.end(search.fail())
    assert bar.bar_style == "danger"
    assert "stopped" in words.value
    assert log.getvalue() == ""
    assert capfd.readouterr().out == ""


# Threads and imports.


def test_thread_ends_with_the_last_search_and_restarts(watched, log):
    for _ in range(2):
        one = watched.begin(Search(describe(2), "one"))
        two = watched.begin(Search(describe(2), "two"))
        assert len(threads()) == 1
        watched.advance(4)
        wait_until(lambda: log.getvalue().count("\n") == 2)
        watched.end(one.fail())
        assert len(threads()) == 1
        watched.end(two.fail())
        wait_until(lambda: not threads())
        log.seek(0)
        log.truncate()


def test_tqdm_is_imported_only_for_a_bar():
    code = "import sys, trackmllib.reporting.progress.display; print('tqdm' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_fit_ends_after_its_bar(monkeypatch):
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
    search = Search(describe(2)).all_fits([0.5, 0.25]).refit(0).finish(0)
    *before, last = search.events
    for event in before:
        session.callbacks.emit(event)
    clock.advance(4)
    wait_until(lambda: "refit of" in log.getvalue())
    session.callbacks.emit(last)
    assert log.getvalue().splitlines()[-1].startswith("trackmllib: CrossValidator: 6 of 6 fits, f")
    assert store.parent_runs()[0].status == "FINISHED"
