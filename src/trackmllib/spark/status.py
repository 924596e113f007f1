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
# Spark gives numbers to jobs that it cannot submit: one that is not there so often is of no job.
TRIES = 3


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
    """The jobs of one SparkContext that begin from now on, each handed out once it has ended.

    ``wait`` may be called by any thread, ``ended`` by one at a time.
    """

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
        # The first number that was not seen, and those before it that are still to be read: of jobs
        # that run, and (with the tries that are left) of those that were not there.
        self._next = scala.dagScheduler().numTotalJobs()
        self._running: set[int] = set()
        self._missing: dict[int, int] = {}
        self._counted: dict[tuple[int, int], None] = {}

    def wait(self) -> None:
        """Wait until Spark has noted all that has happened. Busy where that takes two seconds."""
        try:
            self._bus.waitUntilEmpty(int(BUS_SECONDS * 1000))
        except Exception as error:
            if _java_class(error) == "TimeoutException":
                raise Busy(f"Spark has not noted its last jobs after {BUS_SECONDS:g} s") from error
            raise

    def ended(self) -> Iterator[Job]:
        """The jobs that have ended since the last time. Forgotten where some are missing."""
        new = [entry for entry in self._unread() if entry["info"]["status"] != "RUNNING"]
        if not new:
            return
        first = min((stage for entry in new for stage in entry["info"]["stageIds"]), default=0)
        stages: dict[int, list[dict[str, Any]]] = {}
        for entry in self._all(self._store.view(self._stages).index("stageId").first(first)):
            stages.setdefault(entry["info"]["stageId"], []).append(entry["info"])
        for entry in new:
            job = entry["info"]
            self._running.discard(job["jobId"])
            yield Job(
                tags=frozenset(job["jobTags"]),
                submitted_ms=job["submissionTime"] or 0,
                cost=self._cost(entry, stages),
            )

    def _unread(self) -> list[dict[str, Any]]:
        """What Spark has of the jobs that were not read yet, by number."""
        earlier = {**dict.fromkeys(self._running, 0), **self._missing}
        found = {number: entry for number in earlier if (entry := self._one(number)) is not None}
        found |= {
            entry["info"]["jobId"]: entry
            for entry in self._all(self._store.view(self._jobs).first(self._next))
        }
        if self._running - found.keys():
            raise Forgotten
        end = max(found, default=self._next - 1) + 1
        absent = set(range(self._next, end)) - found.keys()
        if absent and self._oldest_ended() > min(absent):
            raise Forgotten
        tries = {**dict.fromkeys(absent, TRIES), **self._missing}
        self._missing = {
            number: left - 1 for number, left in tries.items() if left > 1 and number not in found
        }
        self._next = max(self._next, end)
        self._running |= found.keys()
        return [entry for _, entry in sorted(found.items())]

    def _oldest_ended(self) -> int:
        """The number of the oldest job that Spark has, but for those that it cannot drop yet."""
        view = self._store.view(self._jobs).max(len(self._running) + 1)
        numbers = (entry["info"]["jobId"] for entry in self._all(view))
        return next((number for number in numbers if number not in self._running), 0)

    def _one(self, number: int) -> dict[str, Any] | None:
        """What Spark has of one job, None if it has none of that number."""
        found = self._all(self._store.view(self._jobs).first(number).max(1))
        return next((entry for entry in found if entry["info"]["jobId"] == number), None)

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
