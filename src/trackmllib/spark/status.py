"""Reads jobs and their stages from Spark's own status store, which feeds Spark's page.

It is there on classic Spark, also without the page. It is not part of Spark's public API for
Python: what is read here is what Spark's REST API answers, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trackmllib.events import Cost
from trackmllib.guard import attempt

BUS_SECONDS = 2.0
# Of so many attempts of stages it is remembered that they were counted.
MOST_COUNTED = 20_000


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that has ended: its tags, when it was submitted, and what it cost by itself."""

    tags: frozenset[str]
    submitted_ms: int
    cost: Cost


class Forgotten(Exception):
    """Spark has dropped jobs from its status store before they were read."""


class Busy(Exception):
    """Spark has not noted yet what has happened; a later try may find it."""


class StatusStore:
    """The jobs of one SparkContext, each of which is handed out once, after it has ended."""

    def __init__(self, context: Any) -> None:
        self.context = context
        jvm = context._jvm
        scala = context._jsc.sc()
        module = getattr(jvm.com.fasterxml.jackson.module.scala, "DefaultScalaModule$")
        self._json = jvm.com.fasterxml.jackson.databind.ObjectMapper()
        self._json.registerModule(getattr(module, "MODULE$"))
        self._bus = scala.listenerBus()
        self._store = scala.statusStore().store()
        named = jvm.java.lang.Class.forName
        self._jobs = named("org.apache.spark.status.JobDataWrapper")
        self._stages = named("org.apache.spark.status.StageDataWrapper")
        self._next = scala.dagScheduler().numTotalJobs()
        self._read: set[int] = set()
        self._missing: set[int] = set()
        self._counted: dict[tuple[int, int], None] = {}

    def ended(self) -> Iterator[Job]:
        """The jobs that have ended since the last time, once Spark has noted all that happened.

        Forgotten where some are missing, Busy where Spark does not get that far in two seconds.
        """
        self._wait_for_bus()
        found = {
            entry["info"]["jobId"]: entry
            for entry in self._all(self._store.view(self._jobs).first(self._next))
        }
        if self._next < min(found, default=self._next):
            (oldest,) = self._all(self._store.view(self._jobs).max(1))
            if oldest["info"]["jobId"] > self._next:
                raise Forgotten
        new = [
            entry
            for number, entry in sorted(found.items())
            if entry["info"]["status"] != "RUNNING" and number not in self._read
        ]
        if not new:
            return
        first = min((stage for entry in new for stage in entry["info"]["stageIds"]), default=0)
        stages: dict[int, list[dict[str, Any]]] = {}
        for entry in self._all(self._store.view(self._stages).index("stageId").first(first)):
            stages.setdefault(entry["info"]["stageId"], []).append(entry["info"])
        for entry in new:
            job = entry["info"]
            self._read.add(job["jobId"])
            yield Job(
                tags=frozenset(job["jobTags"]),
                submitted_ms=job["submissionTime"] or 0,
                cost=self._cost(entry, stages),
            )
        self._go_on(set(found))

    def _wait_for_bus(self) -> None:
        try:
            self._bus.waitUntilEmpty(int(BUS_SECONDS * 1000))
        except Exception as error:
            if _java_class(error) == "TimeoutException":
                raise Busy from error
            raise

    def _go_on(self, found: set[int]) -> None:
        """Begin after the jobs that are done. A number that is missing twice is of no job: Spark
        gives numbers to jobs that it cannot submit.
        """
        missing = set(range(self._next, max(found, default=self._next))) - found
        of_none = missing & self._missing
        self._missing = missing
        while self._next in self._read or self._next in of_none:
            self._read.discard(self._next)
            self._next += 1

    def _cost(self, entry: dict[str, Any], stages: dict[int, list[dict[str, Any]]]) -> Cost:
        """The sum of a job's stages. One that several jobs share is counted with the first."""
        cost = Cost(num_jobs=1)
        for stage_id in set(entry["info"]["stageIds"]) - set(entry["skippedStages"]):
            if stage_id not in stages:
                raise Forgotten
            for stage in stages[stage_id]:
                attempt = (stage_id, stage["attemptId"])
                if attempt not in self._counted and stage["status"] in ("COMPLETE", "FAILED"):
                    self._counted[attempt] = None
                    cost += Cost.of_names(stage)
        while len(self._counted) > MOST_COUNTED:
            del self._counted[next(iter(self._counted))]
        return cost

    def _all(self, view: Any) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads(self._json.writeValueAsString(view))
        return entries


def _java_class(error: Any) -> str:
    """The name of an exception of Java; the thin client lacks the module that has its class."""
    return attempt(lambda: str(error.java_exception.getClass().getSimpleName()), "")
