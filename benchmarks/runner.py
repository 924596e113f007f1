"""Runs the questions one after another and prints the results."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import (
    delivery_cost,
    docs_page,
    event_and_import_cost,
    fit_overhead,
    grid_size_cost,
    middleware_speedup,
    real_model_overhead,
    text_tables,
)
from benchmarks.measurement import Bench, prepare
from benchmarks.ratios import Row
from benchmarks.thread_sampler import Sampler

Question = Callable[[Bench], Iterable[Row]]

# Questions without a Spark session in this process come first, so that no session disturbs them.
# The longest one is last and uses the remaining time.
QUESTIONS: dict[str, Question] = {
    "import": event_and_import_cost.on_import,
    "event": event_and_import_cost.on_events,
    "growth": grid_size_cost.measure,
    "connect": real_model_overhead.on_connect,
    "stub-sqlite": fit_overhead.on_sqlite,
    "stub-server": fit_overhead.on_server,
    "stub-far": fit_overhead.on_far_server,
    "waiting": delivery_cost.measure,
    "folds-cluster": middleware_speedup.on_cluster,
    "accelerate-trees": middleware_speedup.on_notebook,
    "accelerate-boosting": middleware_speedup.on_boosting,
    "accelerate-components": middleware_speedup.on_components,
    "options-pca": middleware_speedup.on_pca,
    "options-text": middleware_speedup.on_text,
    "options-uneven": middleware_speedup.on_uneven,
    "options-tree": middleware_speedup.on_tree,
    "trees": real_model_overhead.on_classic,
}
# For all questions; less than the promised 45 minutes, since a running search is finished.
SECONDS = 44 * 60.0
# On the project's disk, because a temporary folder may be in memory.
FOLDER = Path(__file__).resolve().parent.parent / ".bench"


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 1 if a bound is missed or a question failed, else 0."""
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
                    print(text_tables.line(row, judged=not asked.smoke), flush=True)
            except Exception:  # noqa: BLE001 - the other questions still run
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
        docs_page.write(rows, failed, seconds)
        print(f"Written to {docs_page.PAGE.parent.name}/{docs_page.PAGE.name}.")
    print(text_tables.missed(rows) or "All bounds hold.")
    return int(bool(failed) or any(not row.holds for row in rows))


def chosen(only: list[str]) -> Iterator[str]:
    """Yield the questions whose names start with one of these; all by default.

    Raises SystemExit for a name that matches no question.
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
