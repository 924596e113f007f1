"""Benchmarks that need their own process, for another Spark session.

``python -m benchmarks.own_session QUESTION SETTINGS``; a process cannot have two kinds of session.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measurement import Bench, prepare
from benchmarks.thread_sampler import Sampler

Figures = dict[str, Any]


def figures(bench: Bench, question: str, **session: str) -> Figures | None:
    """Figures of a question, from a new process; None while profiling.

    :param session: ``remote``, the address of a Spark Connect server; or ``master``.
    """
    folder = bench.new_folder(question, create=True)
    settings = {
        **session,
        "folder": str(folder),
        "smoke": bench.smoke,
        "profile": bench.sampler is not None,
        "seconds": bench.left(),
    }
    printed = subprocess.run(
        [sys.executable, "-m", "benchmarks.own_session", question, json.dumps(settings)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=bench.left(),
    ).stdout
    found: Figures | None = None
    if bench.sampler is None:
        found = json.loads(printed.splitlines()[-1])
    return found


def questions() -> dict[str, Callable[[Bench], Figures]]:
    # Imported here, because these modules import this one.
    from benchmarks import middleware_speedup, real_model_overhead

    return {
        "connect": real_model_overhead.figures_on_connect,
        "cluster": middleware_speedup.figures_on_cluster,
    }


def main(question: str, settings: dict[str, Any]) -> None:
    folder = Path(settings["folder"])
    prepare(folder)
    bench = Bench(
        folder,
        smoke=settings["smoke"],
        remote=settings.get("remote", ""),
        master=settings.get("master", "local[2]"),
        sampler=Sampler() if settings["profile"] else None,
        deadline=time.monotonic() + settings["seconds"],
    )
    found = questions()[question](bench)
    if bench.sampler is not None:
        print(bench.sampler.text(), file=sys.stderr)
    else:
        print(json.dumps(found), flush=True)
    bench.close()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
