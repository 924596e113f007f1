"""Client of Spark Connect that runs searches in turn and prints their seconds as JSON.

``python -m benchmarks.connect_client SETTINGS``; a process cannot have sessions of both kinds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks import real_model_overhead
from benchmarks.measurement import Bench, prepare
from benchmarks.stores import sqlite
from benchmarks.thread_sampler import Sampler


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
    rows, store = real_model_overhead.images(bench), sqlite(bench.new_folder("trees"))
    beside = real_model_overhead.peer(bench, rows, store)
    took = real_model_overhead.seconds(bench, rows, store)
    if bench.sampler is not None:
        print(bench.sampler.text(), file=sys.stderr)
    else:
        print(json.dumps({"took": took, "peer": beside}), flush=True)
    bench.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
