"""A client of Spark Connect that searches in turn, and prints its seconds by variant as JSON.

``python -m benchmarks.connect SETTINGS``: there cannot be two kinds of sessions in one process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import trees
from benchmarks.bench import Bench, prepare
from benchmarks.sampler import Sampler


def main(settings: dict) -> None:
    folder = Path(settings["folder"])
    prepare(folder)
    bench = Bench(
        folder,
        smoke=settings["smoke"],
        remote=settings["remote"],
        sampler=Sampler() if settings["profile"] else None,
    )
    took = trees.seconds(bench)
    if bench.sampler is not None:
        print(bench.sampler.text(), file=sys.stderr)
    print(json.dumps(took), flush=True)
    bench.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
