"""A client of Spark Connect that searches in turn, and prints as JSON what it took.

``python -m benchmarks.connect SETTINGS``: there cannot be two kinds of sessions in one process.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks import trees
from benchmarks.bench import Bench, prepare
from benchmarks.sampler import Sampler
from benchmarks.stores import sqlite


def main(settings: dict) -> None:
    folder = Path(settings["folder"])
    prepare(folder)
    bench = Bench(
        folder,
        smoke=settings["smoke"],
        remote=settings["remote"],
        sampler=Sampler() if settings["profile"] else None,
        deadline=time.monotonic() + settings["seconds"],
    )
    rows, store = trees.images(bench), sqlite(bench.new_folder("trees"))
    beside = trees.peer(bench, rows, store)
    took = trees.seconds(bench, rows, store)
    if bench.sampler is not None:
        print(bench.sampler.text(), file=sys.stderr)
    else:
        print(json.dumps({"took": took, "peer": beside}), flush=True)
    bench.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
