"""A standalone Spark cluster on loopback: a master and two workers, as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pyspark

SPARK_HOME = Path(pyspark.__file__).parent
# Options for a JVM that lives for seconds.
SHORT_LIVED = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
WORKERS = 2


class _Part:
    """A master, or a worker and its executors: one process group each."""

    def __init__(self, folder: Path, kind: str, *arguments: str) -> None:
        folder.mkdir()
        self.folder = folder
        self._log = folder / "output.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    str(SPARK_HOME / "bin" / "spark-class"),
                    f"org.apache.spark.deploy.{kind.lower()}.{kind}",
                    *("--host", "127.0.0.1"),
                    *arguments,
                ],
                env={
                    **os.environ,
                    "SPARK_HOME": str(SPARK_HOME),
                    "SPARK_LOCAL_IP": "127.0.0.1",
                    "SPARK_LOCAL_DIRS": str(folder / "local"),
                    "SPARK_DAEMON_MEMORY": "256m",
                    "SPARK_DAEMON_JAVA_OPTS": SHORT_LIVED,
                    # All masters of a machine have the same port.
                    "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
                },
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Check that it is alive."""
        assert self._process.poll() is None, self.output()

    def output(self) -> str:
        return self._log.read_text()[-3000:]

    def kill(self) -> None:
        """Kill it and its child processes with SIGKILL."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)


class Cluster:
    """A master and two workers with their files in ``folder``."""

    def __init__(self, folder: Path, port: int, page: int) -> None:
        self.uri = f"spark://127.0.0.1:{port}"
        self._page = f"http://127.0.0.1:{page}/json/"
        ports = ("--port", str(port), "--webui-port", str(page))
        self._master = _Part(folder / "master", "Master", *ports)
        self._workers = [self._worker(folder / f"worker-{n}") for n in range(WORKERS)]

    def _worker(self, folder: Path) -> _Part:
        size = ("--cores", "1", "--memory", "1g")
        places = ("--webui-port", "0", "--work-dir", str(folder / "work"))
        return _Part(folder, "Worker", *size, *places, self.uri)

    def wait(self, workers: int = WORKERS, seconds: float = 120.0) -> None:
        """Wait until the master has this many live workers."""
        deadline = time.monotonic() + seconds
        while self._living() != workers:
            self._master.check()
            assert time.monotonic() < deadline, [part.output() for part in self._parts()]
            time.sleep(0.1)

    def kill_worker_of(self, executor: Path) -> None:
        """Kill the executor with this working folder, and its worker."""
        (worker,) = (worker for worker in self._workers if worker.folder in executor.parents)
        worker.kill()

    def stop(self) -> None:
        for part in self._parts():
            part.kill()

    def _living(self) -> int:
        try:
            with urllib.request.urlopen(self._page, timeout=5) as answer:
                return json.load(answer)["aliveworkers"]
        except OSError:
            return 0

    def _parts(self) -> list[_Part]:
        return [*self._workers, self._master]
