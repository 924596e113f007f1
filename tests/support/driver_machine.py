"""Drivers and commands as real processes, and a comparison of their output with the record."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import Run

from support.mlflow_reader import Store
from support.restricted_processes import CONTAINER, child_of, without_locks
from support.shared_jvm import shared_jvm
from trackmllib.cli import main

ROUNDS = int(os.environ.get("TRACKMLLIB_ROUNDS", "3"))
_HERE = Path(__file__).resolve().parent
_COMMAND = "from trackmllib.cli import main; raise SystemExit(main())"
_numbers = itertools.count(1)


@dataclass
class Machine:
    """A user with a home folder and a tracking server."""

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
        """The record on the server, read without the proxy."""
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
        """Start a driver whose files cannot grow beyond ``limit_bytes``."""
        limit = f"ulimit -f {limit_bytes // 1024}; " if limit_bytes else ""
        return Driver(self, ["bash", "-c", f'{limit}exec "$0" "$@"', *_command(settings)])

    def driver_in_container(self, **settings) -> Driver:
        """Start a driver as the first process of a container, PID 1."""
        return Driver(self, [*CONTAINER, *_command(settings)], in_container=True)

    def driver_without_locks(self, errno: int, **settings) -> Driver:
        """Start a driver on a file system where every lock fails with this error."""
        return Driver(self, [*without_locks(errno), *_command(settings)])

    def program(self, *command: str) -> Driver:
        """Start another program in its own process group, with its own JVM."""
        return Driver(self, command, own_group=True, own_jvm=True)

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

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run ``trackmllib``, check its exit code, and return its output.

        The command runs in this process, which has imported MLflow already.
        """
        output = io.StringIO()
        with _environ(self.environ()), redirect_stdout(output), redirect_stderr(output):
            found = main(arguments)
        assert found == code, (found, output.getvalue())
        return output.getvalue()

    def sync(self, *arguments: str, code: int = 0) -> str:
        """Run ``trackmllib sync``, check its exit code, and return its output."""
        return self.run("sync", *arguments, code=code)

    def status(self) -> dict:
        return json.loads(self.run("status", "--json"))

    def redirect_outbox(self, made: Machine) -> None:
        """Send outbox files of another machine to the server and experiment of this one."""
        for path in (self.home / "outbox").glob("*.db"):
            connection = sqlite3.connect(path)
            for old, new in ((made.uri, self.uri), (made.experiment, self.experiment)):
                for table, column in (("searches", "destination"), ("operations", "body")):
                    connection.execute(
                        f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (old, new)
                    )
            connection.commit()
            connection.close()

    def release(self, fit: int) -> None:
        """Let drivers that wait in this fit continue."""
        (self.folder / f"go-on-{fit}").touch()

    def files(self) -> list[str]:
        """Return the file names in the outbox folder."""
        return sorted(path.name for path in (self.home / "outbox").glob("*"))


@contextmanager
def _environ(environ: dict[str, str]) -> Iterator[None]:
    """Replace the environment of this process."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _command(settings: dict) -> list[str]:
    return [sys.executable, str(_HERE / "stub_driver.py"), json.dumps(settings)]


def finish(process: subprocess.Popen, code: int) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, (process.returncode, out, err)
    return out, err


class Driver:
    """A running driver and its output so far."""

    def __init__(
        self,
        machine: Machine,
        command: Sequence[str],
        *,
        own_group: bool = False,
        own_jvm: bool = False,
        in_container: bool = False,
    ) -> None:
        self._in_container = in_container
        machine.folder.mkdir(parents=True, exist_ok=True)
        number = next(_numbers)
        self._out = machine.folder / f"driver-{number}.jsonl"
        self._err = machine.folder / f"driver-{number}.err"
        connection = {} if own_jvm else shared_jvm.environ()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                env={**machine.environ(), **connection},
                cwd=machine.folder,
                stdout=out,
                stderr=err,
                start_new_session=own_group,
            )
        if connection:
            shared_jvm.connected(self.process)

    def printed(self) -> list[dict]:
        whole, _, _ = self._out.read_text().rpartition("\n")
        lines = whole.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def wait_until(self, seen, seconds: float = 90.0) -> dict:
        """Wait for a printed line for which ``seen`` is true, and return it."""
        deadline = time.monotonic() + seconds
        while True:
            for line in self.printed():
                if seen(line):
                    return line
            assert self.process.poll() is None, self._err.read_text()[-3000:]
            assert time.monotonic() < deadline, (self.printed()[-3:], self._err.read_text()[-3000:])
            time.sleep(0.02)

    def ready(self) -> Driver:
        self.wait_until(lambda line: "ready" in line)
        return self

    def after_fits(self, number: int) -> Driver:
        self.wait_until(lambda _: sum("score" in line for line in self.printed()) >= number)
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def kill_group(self) -> None:
        """Kill a program of ``Machine.program`` and its child processes."""
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
        """Return the warnings, without that of a wait, which depends on the machine's speed."""
        printed = [line["warning"] for line in self.printed() if "warning" in line]
        return [text for text in printed if not text.startswith("Waiting for ")]

    def seconds(self, search: int = 0) -> float:
        return self.wait_until(lambda line: line.get("fitted") == search)["seconds"]

    def scores(self) -> Counter:
        """Count the printed scores by search, candidate and score."""
        return Counter(
            (line["search"], line["x"], repr(line["score"]))
            for line in self.printed()
            if "score" in line
        )


@dataclass
class Report:
    """Differences between the record and the output of the drivers."""

    printed: int
    lost: list
    never_printed: list
    doubled: list
    running: list[str]
    status: Counter

    def is_clean(self, in_flight: int = 0) -> bool:
        wrong = self.never_printed or self.doubled or self.running
        return len(self.lost) <= in_flight and not wrong


def _x(child: Run) -> float | None:
    return float(child.data.params["x"]) if "x" in child.data.params else None


def compare(
    store: Store,
    *drivers: Driver,
    metric: str = "stub",
    candidate: Callable[[Run], float | None] = _x,
) -> Report:
    """Compare printed and recorded scores, fit by fit.

    Each printed score must be recorded once, on the run of its candidate. The searches of a driver
    run one after another, so the one that started first is its search 0. ``candidate`` returns the
    driver's name for the candidate of a child run.
    """
    printed = sum((driver.scores() for driver in drivers), Counter())
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
        printed=printed.total(),
        lost=list((printed - recorded).elements()),
        never_printed=list((recorded - printed).elements()),
        doubled=doubled,
        running=[run.info.run_name for run in runs if run.info.status == "RUNNING"],
        status=Counter(run.info.status for run in runs),
    )


def end(process: subprocess.Popen) -> None:
    """End a process by its id."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
