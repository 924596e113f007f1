"""One run of the benchmarks: its size, its files, and the measurement of a search."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import mlflow
import mlflow.pyspark.ml

import trackmllib
from benchmarks.ratios import LEAST_ROUNDS, OURS, PEER, UNTRACKED, in_turn
from benchmarks.stores import ROUND_TRIP_SECONDS, Incomplete, Store, server
from benchmarks.thread_sampler import Sampler

T = TypeVar("T")
DELIVERY_SECONDS = 600.0


@dataclass(frozen=True)
class Measurement:
    """Figures of one search.

    The seconds of its ``fit()``, the time of its return (``time.perf_counter()``), the CPU seconds
    of this process from then until delivery, and the exact averages.
    """

    seconds: float
    ended: float
    cpu_seconds: float
    averages: tuple[str, ...]


@dataclass
class Bench:
    """Parameters and resources of one run.

    A ``smoke`` run is small, runs once, and checks no bounds. ``remote`` is the address of a Spark
    Connect server, ``master`` that of classic Spark. With a ``sampler``, only trackmllib's variant
    runs, sampled. ``deadline`` is on the monotonic clock.
    """

    folder: Path
    smoke: bool = False
    remote: str = ""
    master: str = "local[2]"
    sampler: Sampler | None = None
    deadline: float = math.inf
    _numbers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _server: Store | None = None

    def pick(self, whole: T, small: T) -> T:
        return small if self.smoke else whole

    def new_folder(self, name: str, *, create: bool = False) -> Path:
        self._numbers[name] += 1
        folder = self.folder / f"{name}-{self._numbers[name]}"
        if create:
            folder.mkdir()
        return folder

    def left(self) -> float:
        """Return the seconds until the deadline; raise Incomplete after it."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise Incomplete("there is no time left")
        return seconds

    def in_turn(
        self,
        variants: Sequence[str],
        repeats: int,
        seconds: float,
        warm_ups: int = 1,
        least: int = LEAST_ROUNDS,
    ) -> Iterator[tuple[str, bool]]:
        """Alternate the variants as ``ratios.in_turn`` does, within a time limit.

        No round starts that would exceed ``seconds`` or the deadline. A smoke run has one round and
        no warm-up. Raises Incomplete if the deadline passes before ``least`` rounds.
        """
        began = time.monotonic()
        seconds = min(seconds, self.left())

        def is_time(rounds: int) -> bool:
            return (time.monotonic() - began) * (rounds + 1) / rounds <= seconds

        if self.sampler is not None:
            variants, repeats = [OURS], 1
        elif self.smoke:
            repeats, warm_ups = 1, 0
        for turn in in_turn(variants, repeats, warm_ups, is_time, least):
            self.left()
            yield turn

    @cached_property
    def spark(self) -> Any:
        """The Spark session of this process."""
        from pyspark.sql import SparkSession

        if self.remote:
            return SparkSession.builder.remote(self.remote).getOrCreate()
        session = (
            SparkSession.builder.master(self.master)
            .appName("benchmarks")
            # With the default of one gigabyte, Java constantly collects garbage.
            .config("spark.driver.memory", "4g")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("OFF")
        return session

    @contextlib.contextmanager
    def server(self) -> Iterator[Store]:
        """A new ``mlflow server``; in a smoke run, one for all questions."""
        if not self.smoke:
            with server(self.new_folder("server")) as store:
                yield store
            return
        if self._server is None:
            self._server = self._open.enter_context(server(self.new_folder("server")))
        yield self._server

    def close(self) -> None:
        self._open.close()
        if "spark" in vars(self):
            self.spark.stop()
            del self.spark

    def compare(
        self,
        tuner: Callable[[], Any],
        data: Any,
        store: Store,
        repeats: int,
        seconds: float,
        variants: Sequence[str] = (UNTRACKED, OURS),
        same: bool = False,
        warm_ups: int = 1,
        least: int = LEAST_ROUNDS,
        **options: Any,
    ) -> dict[str, list[Measurement]]:
        """Alternate the variants, ``repeats`` times if ``seconds`` suffice.

        With ``same``, their averages must be equal to the last bit.
        """
        taken: dict[str, list[Measurement]] = defaultdict(list)
        averages = set()
        for variant, counts in self.in_turn(variants, repeats, seconds, warm_ups, least):
            found = self.take(variant, tuner(), data, store, **options)
            averages.add(found.averages)
            if counts:
                taken[variant].append(found)
        if same and len(averages) != 1:
            raise Incomplete(f"the variants have not the same averages: {averages}")
        return taken

    def take(
        self,
        variant: str,
        tuner: Any,
        data: Any,
        store: Store,
        during: AbstractContextManager[None] | None = None,
        **options: Any,
    ) -> Measurement:
        """Run one search, wait for its delivery, and check that its record is complete.

        ``during`` is active from ``fit()`` until delivery.
        """
        store.set_delay(0.0)
        experiment = store.new_experiment()
        if self.smoke:
            # Each report takes a process.
            options.setdefault("report", False)
        candidates, folds = len(tuner.getEstimatorParamMaps()), tuner.getNumFolds()
        gc.collect()
        with (
            _VARIANTS[variant](options),
            self.profiled(variant),
            during or contextlib.nullcontext(),
        ):
            store.set_delay(ROUND_TRIP_SECONDS)
            cpu, began = time.process_time(), time.perf_counter()
            model = tuner.fit(data)
            ended = time.perf_counter()
            # The rest is not measured, so skip the delay.
            store.set_delay(0.0)
            patience = min(DELIVERY_SECONDS, self.left())
            if not trackmllib.flush(patience):
                raise Incomplete(f"the record was not delivered within {patience:.0f} s")
            cpu = time.process_time() - cpu
        if variant == UNTRACKED:
            store.check(experiment, 0, 0, 0, "")
        elif variant == OURS:
            metric = tuner.getEvaluator().getMetricName()
            store.check(experiment, candidates + 1, candidates, candidates * folds, metric)
        else:
            store.check(experiment, candidates + 1, candidates, 0, "")
        averages = tuple(float(average).hex() for average in model.avgMetrics)
        return Measurement(ended - began, ended, cpu, averages)

    @contextlib.contextmanager
    def profiled(self, variant: str) -> Iterator[None]:
        if self.sampler is None or variant != OURS:
            yield
            return
        with self.sampler.running():
            yield


@contextlib.contextmanager
def _untracked(options: dict[str, Any]) -> Iterator[None]:
    trackmllib.autolog(disable=True)
    yield


@contextlib.contextmanager
def _ours(options: dict[str, Any]) -> Iterator[None]:
    trackmllib.autolog(**options)
    try:
        yield
    finally:
        trackmllib.autolog(disable=True)


# Without a list, MLflow needs a sparkContext, which Spark Connect lacks.
_NO_MODELS = ["none"]


@contextlib.contextmanager
def _peer(options: dict[str, Any]) -> Iterator[None]:
    """MLflow's own autologging, without models and data, as is trackmllib's default."""
    trackmllib.autolog(disable=True)
    mlflow.pyspark.ml.autolog(
        log_models=False, log_datasets=False, silent=True, log_model_allowlist=_NO_MODELS
    )
    try:
        # It prints two lines per run.
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        mlflow.pyspark.ml.autolog(disable=True, log_model_allowlist=_NO_MODELS)
        while mlflow.active_run() is not None:
            mlflow.end_run()


_VARIANTS = {UNTRACKED: _untracked, OURS: _ours, PEER: _peer}


def prepare(folder: Path) -> None:
    """Isolate the benchmarks from the user's settings and folders."""
    for name in list(os.environ):
        if name.startswith(("TRACKMLLIB_", "MLFLOW_", "SPARK_")):
            del os.environ[name]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["TRACKMLLIB_HOME"] = str(folder / "home")
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
