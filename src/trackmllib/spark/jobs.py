"""What Spark's jobs of a search are called on Spark's page, and by which tags they are known.

Spark takes both from local properties of the thread that starts a job, and hands them on to the
threads that it starts itself. Each cell gets a copy of those of the thread of ``fit()``: Spark puts
one and the same object into all threads of its pool, so a change to it would be one for all.

Only on classic Spark, and only where a thread of Python has its own one in the JVM (the default).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from trackmllib.guard import attempt
from trackmllib.spark import before_calls

DESCRIPTION = "spark.job.description"
TAGS = "spark.job.tags"
PREFIX = "trackmllib:"
MOST_CHARACTERS = 300


def classic_context() -> Any:
    """The SparkContext of this process whose threads have properties of their own, else None."""
    try:
        from py4j.clientserver import ClientServer
        from pyspark import SparkContext
    except ImportError:
        # The thin client of Spark Connect.
        return None
    if not isinstance(SparkContext._gateway, ClientServer):
        return None
    return SparkContext._active_spark_context


class SearchJobs:
    """The jobs of one search. ``start`` and ``stop`` are called in the thread of its ``fit()``.

    The user's own description comes before ours, the user's tags and group stay, and all is put
    back in the end.
    """

    def __init__(self, search_id: str, *, is_inner: bool = False) -> None:
        self.tag = PREFIX + search_id
        # The SparkContext, and Spark's own one behind it, which it takes a call to ask for.
        self.context: Any = None
        self.scala: Any = None
        self._looks_at_calls = False
        self._is_inner = is_inner
        self.thread = threading.get_ident()
        self._cells = 0
        self._lock = threading.Lock()

    def start(self, data: Any) -> None:
        """Give the tag of the search to all jobs that this thread starts from now on, unless its
        data is of Spark Connect, whose jobs run in threads of the server.
        """
        context = classic_context() if attempt(lambda: hasattr(data, "_jdf"), False) else None
        if context is None:
            return
        scala = context._jsc.sc()
        self._found = scala.getLocalProperties()
        self._properties = self._found.clone()
        self._before = self._properties.getProperty(DESCRIPTION)
        self._tags = _with(self._properties.getProperty(TAGS), self.tag)
        self._refit: str | None = None
        self._properties.setProperty(TAGS, self._tags)
        before_calls.begin()
        self._looks_at_calls = True
        self.context, self.scala = context, scala
        scala.setLocalProperties(self._properties)

    def stop(self) -> None:
        """Put back what was there. What others have set meanwhile in this thread stays."""
        if self._looks_at_calls:
            self._looks_at_calls = False
            before_calls.end()
        if self.context is None or self.context._jsc is None:
            # There was none, or Spark was stopped.
            return
        if self._is_inner:
            # The search around this one changes the object that it has put there itself.
            self.scala.setLocalProperties(self._found)
            return
        # Spark, or a loop of a subclass, may have put a copy of ours into this thread.
        current = self.scala.getLocalProperties()
        for properties in (self._properties, current):
            self._describe_no_refit(properties)
            _put(properties, TAGS, _without(properties.getProperty(TAGS), self.tag))

    def refit_starts(self, label: str) -> None:
        """The jobs of ``fit()``'s own thread are of the refit from now on. Called in any thread."""
        if self.context is not None:
            self._refit = _described(self._before, label, "refit")
            self._properties.setProperty(DESCRIPTION, self._refit)

    def fold_starts(self) -> None:
        """What looked like the last score was not: another fold is laid out."""
        if self.context is not None:
            self._describe_no_refit(self._properties)
            self._refit = None

    def cell(self, *, of_pool: bool) -> CellJobs:
        """The jobs of a cell. ``of_pool``: it is computed in a thread of Spark's pool, if not in
        the thread of ``fit()``, and Spark itself sets the properties there for the next one.
        """
        with self._lock:
            self._cells += 1
            tag = f"{self.tag}:{self._cells}"
        return CellJobs(self, tag, stays=not of_pool or threading.get_ident() == self.thread)

    def _describe_no_refit(self, properties: Any) -> None:
        if self._refit is not None and properties.getProperty(DESCRIPTION) == self._refit:
            _put(properties, DESCRIPTION, self._before)


class CellJobs:
    """The jobs of one cell, in the thread that computes it.

    A cell that never calls into the JVM starts no job, and is not labelled: ``label`` is for the
    moment before a call.
    """

    def __init__(self, search: SearchJobs, tag: str, *, stays: bool) -> None:
        self.tag = tag
        self._search = search
        self._stays = stays
        self._properties: Any = None
        self._before: str | None = None
        self._description: str | None = None

    @property
    def labelled(self) -> bool:
        """Whether there may be jobs with this tag."""
        return self._properties is not None

    def label(self, words: Sequence[str]) -> None:
        """Give the tag of the cell to all jobs that this thread starts from now on, and say in
        words what they are for, unless somebody else has said so meanwhile.
        """
        if self._properties is None:
            self._set(words)
        elif words:
            said, text = self._description, _described(self._before, *words)
            if said is None:
                self._properties.setProperty(DESCRIPTION, text)
            elif not self._properties.replace(DESCRIPTION, said, text):
                return
            self._description = text

    def _set(self, words: Sequence[str]) -> None:
        search = self._search
        if search.scala is None or search.context._jsc is None:
            return
        if self._stays:
            # A thread of the user's has properties of its own.
            properties = search.scala.getLocalProperties().clone()
            self._before = properties.getProperty(DESCRIPTION)
            tags = _with(_without(properties.getProperty(TAGS), search.tag), search.tag)
        else:
            properties = search._properties.clone()
            self._before, tags = search._before, search._tags
        properties.setProperty(TAGS, _with(tags, self.tag))
        if words:
            self._description = _described(self._before, *words)
            properties.setProperty(DESCRIPTION, self._description)
        search.scala.setLocalProperties(properties)
        self._properties = properties

    def stop(self) -> None:
        """Put back what was there, where the thread goes on with something else."""
        search = self._search
        if self._properties is None or not self._stays or search.context._jsc is None:
            return
        current = search.scala.getLocalProperties()
        if current.getProperty(DESCRIPTION) == self._description:
            _put(current, DESCRIPTION, self._before)
        tags = _without(current.getProperty(TAGS), self.tag)
        if threading.get_ident() != search.thread:
            tags = _without(tags, search.tag)
        _put(current, TAGS, tags)


def _described(before: str | None, *words: str) -> str:
    """Our words, behind those that were there."""
    text = " · ".join((before, *words) if before else words)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def _with(tags: str | None, tag: str) -> str:
    return f"{tags},{tag}" if tags else tag


def _without(tags: str | None, tag: str) -> str | None:
    return ",".join(other for other in (tags or "").split(",") if other != tag) or None


def _put(properties: Any, name: str, value: str | None) -> None:
    if value is None:
        properties.remove(name)
    else:
        properties.setProperty(name, value)
