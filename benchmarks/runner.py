"""Asks the questions one after the other, and says what came of it."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import growth, page, small, stub, switches, text, trees, waiting
from benchmarks.bench import Bench, prepare
from benchmarks.figures import Row
from benchmarks.sampler import Sampler

Question = Callable[[Bench], Iterable[Row]]

# Those without a Spark session in this process come first: nothing of one runs beside them. The one
# that takes longest is last, with as many rounds as there is time for.
QUESTIONS: dict[str, Question] = {
    "import": small.on_import,
    "event": small.on_events,
    "growth": growth.measure,
    "connect": trees.on_connect,
    "stub-sqlite": stub.on_sqlite,
    "stub-server": stub.on_server,
    "stub-far": stub.on_far_server,
    "waiting": waiting.measure,
    "switches-pca": switches.on_pca,
    "switches-text": switches.on_text,
    "switches-uneven": switches.on_uneven,
    "switches-tree": switches.on_tree,
    "trees": trees.on_classic,
}
# For all questions together, less than the twenty minutes that are promised: a search that has
# begun by then comes to its end.
SECONDS = 19 * 60.0
# On the disk of the project, and not in a folder for temporary files, which may be in memory.
FOLDER = Path(__file__).resolve().parent.parent / ".bench"


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 where a bound is missed or a question could not be asked, else 0."""
    asked = _parser().parse_args(arguments)
    names = list(chosen(asked.only))
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    folder = Path(tempfile.mkdtemp(dir=FOLDER))
    prepare(folder)
    bench = Bench(
        folder,
        smoke=asked.smoke,
        sampler=Sampler() if asked.profile else None,
        deadline=began + SECONDS,
    )
    rows: list[Row] = []
    failed: list[str] = []
    try:
        for name in names:
            start = time.monotonic()
            try:
                bench.left()
                for row in QUESTIONS[name](bench):
                    rows.append(row)
                    print(text.line(row, judged=not asked.smoke), flush=True)
            except Exception:  # noqa: BLE001 - the others are asked nevertheless
                traceback.print_exc()
                failed.append(name)
            if bench.sampler is not None:
                print(f"{name}, ours: {bench.sampler.text()}", flush=True)
                bench.sampler = Sampler()
            print(f"  {name} took {time.monotonic() - start:.0f} s", flush=True)
    finally:
        bench.close()
        shutil.rmtree(FOLDER, ignore_errors=True)
    seconds = time.monotonic() - began
    print(f"\n{len(rows)} rows in {seconds / 60:.1f} minutes.")
    if failed:
        print(f"Failed: {', '.join(failed)}.")
    if asked.smoke or bench.sampler is not None:
        return int(bool(failed))
    if names == list(QUESTIONS):
        page.write(rows, failed, seconds)
        print(f"Written to {page.PAGE.parent.name}/{page.PAGE.name}.")
    print(text.missed(rows) or "All bounds hold.")
    return int(bool(failed) or any(not row.holds for row in rows))


def chosen(only: list[str]) -> Iterator[str]:
    """The questions whose names begin with one of these; all, if there are none.

    SystemExit for a name of no question.
    """
    for wanted in only:
        if not any(name.startswith(wanted) for name in QUESTIONS):
            raise SystemExit(f"There is no question {wanted!r}; there are {', '.join(QUESTIONS)}.")
    yield from (
        name for name in QUESTIONS if not only or any(name.startswith(wanted) for wanted in only)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="ask only this question, or those whose names begin so; can be given several times",
    )
    parser.add_argument(
        "--smoke", action="store_true", help="everything once and small; no bound is judged"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="run only ours, once, and print in which functions its threads were",
    )
    return parser
