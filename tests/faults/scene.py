"""Drivers, servers and the command line as real processes; and the comparison of what a driver said
with what the server has.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import Run

from processes import CONTAINER, child_of, without_locks
from reading import Store

ROUNDS = int(os.environ.get("TRACKMLLIB_ROUNDS", "3"))
_HERE = Path(__file__).resolve().parent
_COMMAND = "from trackmllib.cli import main; raise SystemExit(main())"
_numbers = itertools.count(1)


@dataclass
class Scene:
    """A user with a home of their own, and a tracking server that may be anything."""

    folder: Path
    uri: str
    experiment: str = field(default_factory=lambda: f"faults-{os.getpid()}-{next(_numbers)}")
    real_uri: str = ""
    more_environ: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def store(self) -> Store:
        """The record as it is on the server, read past any proxy."""
        return Store(self.real_uri or self.uri, self.experiment)

    def environ(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TRACKMLLIB", "MLFLOW"))}
        return {
            **kept,
            "TRACKMLLIB_HOME": str(self.home),
            "TRACKMLLIB_REPORT": "false",
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_EXPERIMENT_NAME": self.experiment,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
            **self.more_environ,
        }

    def driver(self, limit_bytes: int | None = None, **settings) -> Driver:
        """Start a driver. ``limit_bytes``: no file of it grows beyond that."""
        limit = f"ulimit -f {limit_bytes // 1024}; " if limit_bytes else ""
        return Driver(self, ["bash", "-c", f'{limit}exec "$0" "$@"', *_command(settings)])

    def driver_in_container(self, **settings) -> Driver:
        """Start a driver as the first process of a container, PID 1."""
        return Driver(self, [*CONTAINER, *_command(settings)], in_container=True)

    def driver_without_locks(self, errno: int, **settings) -> Driver:
        """Start a driver on a file system where every lock fails with this error."""
        return Driver(self, [*without_locks(errno), *_command(settings)])

    def program(self, *command: str) -> Driver:
        """Start a driver of another kind; what it starts is of its process group."""
        return Driver(self, command, own_group=True)

    def command(self, *arguments: str, **options) -> subprocess.Popen:
        """Start ``trackmllib`` with these arguments."""
        return subprocess.Popen(
            [sys.executable, "-c", _COMMAND, *arguments],
            env=self.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def sync(self, *arguments: str, code: int = 0) -> str:
        """Run ``trackmllib sync``; its exit code must be ``code``."""
        out, err = finish(self.command("sync", *arguments), code)
        return out + err

    def status(self) -> dict:
        out, _ = finish(self.command("status", "--json"), 0)
        return json.loads(out)

    def files(self) -> list[str]:
        """What lies in the outbox folder."""
        return sorted(path.name for path in (self.home / "outbox").glob("*"))


def _command(settings: dict) -> list[str]:
    return [sys.executable, str(_HERE / "driver.py"), json.dumps(settings)]


def finish(process: subprocess.Popen, code: int) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, (process.returncode, out, err)
    return out, err


class Driver:
    """A running driver, and what it has said so far."""

    def __init__(
        self,
        scene: Scene,
        command: Sequence[str],
        *,
        own_group: bool = False,
        in_container: bool = False,
    ) -> None:
        self._in_container = in_container
        scene.folder.mkdir(parents=True, exist_ok=True)
        number = next(_numbers)
        self._out = scene.folder / f"driver-{number}.jsonl"
        self._err = scene.folder / f"driver-{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                env=scene.environ(),
                cwd=scene.folder,
                stdout=out,
                stderr=err,
                start_new_session=own_group,
            )

    def said(self) -> list[dict]:
        whole, _, _ = self._out.read_text().rpartition("\n")
        lines = whole.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def wait_until(self, seen, seconds: float = 90.0) -> dict:
        """Until the driver has said something that ``seen`` says yes to."""
        deadline = time.monotonic() + seconds
        while True:
            for line in self.said():
                if seen(line):
                    return line
            assert self.process.poll() is None, self._err.read_text()[-3000:]
            assert time.monotonic() < deadline, (self.said()[-3:], self._err.read_text()[-3000:])
            time.sleep(0.02)

    def ready(self) -> Driver:
        self.wait_until(lambda line: "ready" in line)
        return self

    def after_cells(self, number: int) -> Driver:
        self.wait_until(lambda _: sum("score" in line for line in self.said()) >= number)
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def kill_group(self) -> None:
        """Kill a program that ``Scene.program`` has started, and all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def signal(self, number: int, code: int, seconds: float = 60.0) -> None:
        if self._in_container:
            os.kill(child_of(self.process.pid), number)
        else:
            self.process.send_signal(number)
        assert self.process.wait(seconds) == code, self._err.read_text()[-3000:]

    def finish(self, seconds: float = 180.0) -> Driver:
        assert self.process.wait(seconds) == 0, self._err.read_text()[-3000:]
        return self

    def warnings(self) -> list[str]:
        """What trackmllib said, but for the line that fit() waits: a busy machine may bring it."""
        said = [line["warning"] for line in self.said() if "warning" in line]
        return [text for text in said if not text.startswith("Waiting for ")]

    def seconds(self, search: int = 0) -> float:
        return self.wait_until(lambda line: line.get("fitted") == search)["seconds"]

    def scores(self) -> Counter:
        """How often each score was said, by search, candidate and score."""
        return Counter(
            (line["search"], line["x"], repr(line["score"]))
            for line in self.said()
            if "score" in line
        )


@dataclass
class Report:
    """The record against what the drivers said."""

    said: int
    lost: list
    never_said: list
    doubled: list
    running: list[str]
    status: Counter

    def is_clean(self, in_flight: int = 0) -> bool:
        wrong = self.never_said or self.doubled or self.running
        return len(self.lost) <= in_flight and not wrong


def _x(child: Run) -> float | None:
    return float(child.data.params["x"]) if "x" in child.data.params else None


def compare(
    store: Store,
    *drivers: Driver,
    metric: str = "stub",
    candidate: Callable[[Run], float | None] = _x,
) -> Report:
    """Cell by cell: each score that was said is on the run of its candidate, once, and no other.

    Searches of one driver follow each other, so the search that began first is its search 0.
    ``candidate`` is what the driver calls the candidate of a child run.
    """
    said = sum((driver.scores() for driver in drivers), Counter())
    runs = [run for run in store.runs() if run.info.lifecycle_stage == "active"]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    recorded: Counter = Counter()
    seen: Counter = Counter()
    starts: dict[str, int] = defaultdict(lambda: sys.maxsize)
    for child in children:
        search_id = child.data.tags["trackmllib.search_id"]
        starts[search_id] = min(starts[search_id], child.info.start_time)
        seen[search_id, child.data.tags["trackmllib.candidate"]] += 1
    place = {s: n for n, s in enumerate(sorted(starts, key=starts.__getitem__))}
    for child in children:
        points = store.client.get_metric_history(child.info.run_id, metric)
        x = candidate(child)
        number = place[child.data.tags["trackmllib.search_id"]] if len(drivers) == 1 else 0
        steps = Counter(point.step for point in points)
        seen.update((child.info.run_id, step) for step in steps.elements())
        recorded.update((number, x, repr(point.value)) for point in points)
    doubled = [key for key, times in seen.items() if times > 1]
    return Report(
        said=said.total(),
        lost=list((said - recorded).elements()),
        never_said=list((recorded - said).elements()),
        doubled=doubled,
        running=[run.info.run_name for run in runs if run.info.status == "RUNNING"],
        status=Counter(run.info.status for run in runs),
    )


def end(process: subprocess.Popen) -> None:
    """End a process by its id, whatever it is doing."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
