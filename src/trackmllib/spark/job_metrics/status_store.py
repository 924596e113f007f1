"""Reader of Spark's status store, which feeds the Spark UI.

Classic Spark has the store even without the UI. Spark's Python API does not expose it, so this
module reads it as the JSON of Spark's REST API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trackmllib.domain.descriptions import Cost
from trackmllib.support.guard import attempt

BUS_SECONDS = 2.0
# How many counted stage attempts are remembered.
MOST_COUNTED = 20_000
# Spark also numbers jobs that it cannot submit. After so many reads, a missing number is ignored.
TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """An ended job; its cost excludes stages that an earlier job has computed."""

    tags: frozenset[str]
    submitted_ms: int
    cost: Cost


class JobsDropped(Exception):
    """Spark dropped jobs from its status store before they were read."""


class StoreBehind(Exception):
    """Spark's status store is behind; a later read may succeed."""


class StatusStore:
    """Jobs of one SparkContext that start from now on.

    Any thread may call ``wait``; only one at a time may call ``ended``.
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
        # The first unseen number, and earlier ones to read again: running jobs, and missing jobs
        # with the number of reads left.
        self._next = scala.dagScheduler().numTotalJobs()
        self._running: set[int] = set()
        self._missing: dict[int, int] = {}
        self._counted: dict[tuple[int, int], None] = {}

    def wait(self) -> None:
        """Wait until the store is up to date, or raise StoreBehind after 2 s."""
        try:
            self._bus.waitUntilEmpty(int(BUS_SECONDS * 1000))
        except Exception as error:
            if _java_class(error) == "TimeoutException":
                raise StoreBehind(
                    f"Spark's status store is more than {BUS_SECONDS:g} s behind"
                ) from error
            raise

    def ended(self) -> Iterator[Job]:
        """Yield the jobs that have ended since the last call.

        :raises JobsDropped: Spark dropped some of them.
        """
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
        """Entries of the jobs that were not read yet, by number."""
        unread = {**dict.fromkeys(self._running, 0), **self._missing}
        found = {number: entry for number in unread if (entry := self._one(number)) is not None}
        found |= {
            entry["info"]["jobId"]: entry
            for entry in self._all(self._store.view(self._jobs).first(self._next))
        }
        if self._running - found.keys():
            raise JobsDropped
        end = max(found, default=self._next - 1) + 1
        absent = set(range(self._next, end)) - found.keys()
        if absent and self._oldest_ended() > min(absent):
            raise JobsDropped
        tries = {**dict.fromkeys(absent, TRIES), **self._missing}
        self._missing = {
            number: left - 1 for number, left in tries.items() if left > 1 and number not in found
        }
        self._next = max(self._next, end)
        self._running |= found.keys()
        return [entry for _, entry in sorted(found.items())]

    def _oldest_ended(self) -> int:
        """Number of the oldest ended job, which Spark drops first."""
        view = self._store.view(self._jobs).max(len(self._running) + 1)
        numbers = (entry["info"]["jobId"] for entry in self._all(view))
        return next((number for number in numbers if number not in self._running), 0)

    def _one(self, number: int) -> dict[str, Any] | None:
        """Entry of one job; None if there is no job of that number."""
        found = self._all(self._store.view(self._jobs).first(number).max(1))
        return next((entry for entry in found if entry["info"]["jobId"] == number), None)

    def _cost(self, entry: dict[str, Any], stages: dict[int, list[dict[str, Any]]]) -> Cost:
        """Cost of a job's stages; a shared stage counts for its first job."""
        cost = Cost(num_jobs=1)
        for stage_id in set(entry["info"]["stageIds"]) - set(entry["skippedStages"]):
            if stage_id not in stages:
                raise JobsDropped
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
    """Class name of a Java exception; py4j may be missing."""
    return attempt(lambda: str(error.java_exception.getClass().getSimpleName()), "")
