"""One run of the benchmarks: how large it is, where its files lie, how a search is measured."""

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
from benchmarks.figures import LEAST_ROUNDS, OURS, PEER, UNTRACKED, in_turn
from benchmarks.sampler import Sampler
from benchmarks.stores import ROUND_TRIP_SECONDS, Incomplete, Store, server

T = TypeVar("T")
DELIVERY_SECONDS = 600.0


@dataclass(frozen=True)
class Taken:
    """One search: the seconds of its ``fit()``, and when it returned, as ``time.perf_counter()``
    has it; the CPU seconds of this process from there until
    all was delivered; and its averages, to the last bit.
    """

    seconds: float
    ended: float
    cpu_seconds: float
    averages: tuple[str, ...]


@dataclass
class Bench:
    """``smoke``: everything once and small, and no bound is judged. ``remote`` is the address of a
    Spark Connect server to search on. With a ``sampler`` only ours is run, under it. ``deadline``,
    on the monotonic clock, is when all must have been asked.
    """

    folder: Path
    smoke: bool = False
    remote: str = ""
    sampler: Sampler | None = None
    deadline: float = math.inf
    _numbers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _server: Store | None = None

    def pick(self, whole: T, small: T) -> T:
        return small if self.smoke else whole

    def new_folder(self, name: str) -> Path:
        self._numbers[name] += 1
        return self.folder / f"{name}-{self._numbers[name]}"

    def left(self) -> float:
        """The seconds until the deadline; Incomplete where it has passed."""
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
        """As ``figures.in_turn``, with no new round that would not end within so many seconds, nor
        within what is left; one round and no warm-up where nothing is judged.

        Incomplete where the deadline passes before the least rounds are run.
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
        """The session of all searches of this process, on two cores."""
        from pyspark.sql import SparkSession

        if self.remote:
            return SparkSession.builder.remote(self.remote).getOrCreate()
        session = (
            SparkSession.builder.master("local[2]")
            .appName("benchmarks")
            # With the one gigabyte that it takes by default, Java collects garbage all the time.
            .config("spark.driver.memory", "4g")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("OFF")
        return session

    @contextlib.contextmanager
    def server(self) -> Iterator[Store]:
        """An ``mlflow server`` that nobody has used; where nothing is judged, one for all."""
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
    ) -> dict[str, list[Taken]]:
        """Search with the variants in turn, ``repeats`` times if ``seconds`` are enough for it.

        ``same``: their averages must be the same, bit by bit.
        """
        taken: dict[str, list[Taken]] = defaultdict(list)
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
    ) -> Taken:
        """Run one search, wait until its record is delivered, and look whether it is complete.

        ``during`` is entered for the time from ``fit()`` until all is delivered.
        """
        store.set_delay(0.0)
        experiment = store.new_experiment()
        if self.smoke:
            # Each report is drawn by a process of its own.
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
            # What comes now is not measured, and need not take long.
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
        return Taken(ended - began, ended, cpu, averages)

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


# Without a list it asks the session for its sparkContext, which one of Spark Connect has not.
_NO_MODELS = ["none"]


@contextlib.contextmanager
def _peer(options: dict[str, Any]) -> Iterator[None]:
    """MLflow's own autologging. It logs no models and no data here, as we do not by default."""
    trackmllib.autolog(disable=True)
    mlflow.pyspark.ml.autolog(
        log_models=False, log_datasets=False, silent=True, log_model_allowlist=_NO_MODELS
    )
    try:
        # It prints two lines a run.
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        mlflow.pyspark.ml.autolog(disable=True, log_model_allowlist=_NO_MODELS)
        while mlflow.active_run() is not None:
            mlflow.end_run()


_VARIANTS = {UNTRACKED: _untracked, OURS: _ours, PEER: _peer}


def prepare(folder: Path) -> None:
    """Nothing of the user's own settings has a part in what is measured, and nothing of it is left
    in the user's folders.
    """
    for name in list(os.environ):
        if name.startswith(("TRACKMLLIB_", "MLFLOW_", "SPARK_")):
            del os.environ[name]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["TRACKMLLIB_HOME"] = str(folder / "home")
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
