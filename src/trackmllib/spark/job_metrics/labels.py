"""Descriptions and tags of the Spark jobs of a search.

Spark reads both from local properties of the thread that starts a job. All threads of Spark's pool
inherit the same properties object, so each fit gets a copy of it.

Only classic Spark has labels, and only if each Python thread has its own JVM thread (the default).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from trackmllib.spark.job_metrics import jvm_hook
from trackmllib.support.guard import attempt

DESCRIPTION = "spark.job.description"
TAGS = "spark.job.tags"
PREFIX = "trackmllib:"
MOST_CHARACTERS = 300


def classic_context() -> Any:
    """Active SparkContext, if each thread has its own local properties."""
    try:
        from py4j.clientserver import ClientServer
        from pyspark import SparkContext
    except ImportError:
        # The thin client of Spark Connect.
        return None
    if not isinstance(SparkContext._gateway, ClientServer):
        return None
    return SparkContext._active_spark_context


class SearchLabels:
    """Labels of the jobs of one search, in the thread of ``fit()``.

    The user's description precedes ours; the user's tags and job group stay. ``stop`` restores
    everything.
    """

    def __init__(self, search_id: str, *, is_inner: bool = False) -> None:
        self.tag = PREFIX + search_id
        # The SparkContext, and its counterpart in the JVM.
        self.context: Any = None
        self.scala: Any = None
        self._hooks_calls = False
        self._is_inner = is_inner
        self.thread = threading.get_ident()
        self._fits = 0
        self._lock = threading.Lock()

    def start(self, data: Any) -> None:
        """Tag the jobs that this thread starts; does nothing on Spark Connect."""
        context = classic_context() if attempt(lambda: hasattr(data, "_jdf"), False) else None
        if context is None:
            return
        scala = context._jsc.sc()
        self._found = scala.getLocalProperties()
        self._properties = self._found.clone()
        self._before = self._properties.getProperty(DESCRIPTION)
        self._tags = _add_tag(self._properties.getProperty(TAGS), self.tag)
        self._refit: str | None = None
        self._properties.setProperty(TAGS, self._tags)
        jvm_hook.begin()
        self._hooks_calls = True
        self.context, self.scala = context, scala
        scala.setLocalProperties(self._properties)

    def stop(self) -> None:
        """Restore the labels, but keep what other code has set since."""
        if self._hooks_calls:
            self._hooks_calls = False
            jvm_hook.end()
        if self.context is None or self.context._jsc is None:
            # There is no context, or Spark was stopped.
            return
        if self._is_inner:
            # The outer search must find its own object.
            self.scala.setLocalProperties(self._found)
            return
        # Spark, or the loop of a subclass, may have set a copy in this thread.
        current = self.scala.getLocalProperties()
        for properties in (self._properties, current):
            self._describe_no_refit(properties)
            _set_property(properties, TAGS, _remove_tag(properties.getProperty(TAGS), self.tag))

    def refit_starts(self, label: str) -> None:
        """Describe the next jobs of ``fit()`` as the refit; thread-safe."""
        if self.context is not None:
            self._refit = _described(self._before, label, "refit")
            self._properties.setProperty(DESCRIPTION, self._refit)

    def fold_starts(self) -> None:
        """Remove the description of a refit, because another fold starts."""
        if self.context is not None:
            self._describe_no_refit(self._properties)
            self._refit = None

    def new_fit(self, *, of_pool: bool) -> FitLabels:
        """Create the labels of a fit.

        :param of_pool: Whether the fit runs in Spark's pool or in the thread of ``fit()``. In its
            pool, Spark itself resets the properties before the next fit.
        """
        with self._lock:
            self._fits += 1
            tag = f"{self.tag}:{self._fits}"
        return FitLabels(self, tag, restores=not of_pool or threading.get_ident() == self.thread)

    def _describe_no_refit(self, properties: Any) -> None:
        if self._refit is not None and properties.getProperty(DESCRIPTION) == self._refit:
            _set_property(properties, DESCRIPTION, self._before)


class FitLabels:
    """Labels of the jobs of one fit, used in the thread that computes it."""

    def __init__(self, search: SearchLabels, tag: str, *, restores: bool) -> None:
        self.tag = tag
        self._search = search
        self._restores = restores
        self._properties: Any = None
        self._before: str | None = None
        self._description: str | None = None

    @property
    def may_have_jobs(self) -> bool:
        """Whether jobs may have this tag."""
        return self._properties is not None

    def label(self, words: Sequence[str]) -> None:
        """Tag and describe the next jobs of this thread.

        Keeps a description that other code has set since the last call.
        """
        if self._properties is None:
            self._set(words)
        elif words:
            current, text = self._description, _described(self._before, *words)
            if current is None:
                self._properties.setProperty(DESCRIPTION, text)
            elif not self._properties.replace(DESCRIPTION, current, text):
                return
            self._description = text

    def _set(self, words: Sequence[str]) -> None:
        search = self._search
        if search.scala is None or search.context._jsc is None:
            return
        if self._restores:
            # The user's thread has its own properties.
            properties = search.scala.getLocalProperties().clone()
            self._before = properties.getProperty(DESCRIPTION)
            tags = _add_tag(_remove_tag(properties.getProperty(TAGS), search.tag), search.tag)
        else:
            properties = search._properties.clone()
            self._before, tags = search._before, search._tags
        properties.setProperty(TAGS, _add_tag(tags, self.tag))
        if words:
            self._description = _described(self._before, *words)
            properties.setProperty(DESCRIPTION, self._description)
        search.scala.setLocalProperties(properties)
        self._properties = properties

    def stop(self) -> None:
        """Restore the labels, unless the thread is one of Spark's pool."""
        search = self._search
        if self._properties is None or not self._restores or search.context._jsc is None:
            return
        current = search.scala.getLocalProperties()
        if current.getProperty(DESCRIPTION) == self._description:
            _set_property(current, DESCRIPTION, self._before)
        tags = _remove_tag(current.getProperty(TAGS), self.tag)
        if threading.get_ident() != search.thread:
            tags = _remove_tag(tags, search.tag)
        _set_property(current, TAGS, tags)


def _described(before: str | None, *words: str) -> str:
    """Append our words to the user's description."""
    text = " · ".join((before, *words) if before else words)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def _add_tag(tags: str | None, tag: str) -> str:
    return f"{tags},{tag}" if tags else tag


def _remove_tag(tags: str | None, tag: str) -> str | None:
    return ",".join(other for other in (tags or "").split(",") if other != tag) or None


def _set_property(properties: Any, name: str, value: str | None) -> None:
    if value is None:
        properties.remove(name)
    else:
        properties.setProperty(name, value)
