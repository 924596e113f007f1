"""Proxies of the DataFrames of a fold."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from trackmllib.spark.middleware.base import FoldCall


class FrameProxy:
    """Proxy of a DataFrame that Spark's loop cannot cache or release."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    def cache(self) -> FrameProxy:
        return self

    def persist(self, *level: Any) -> FrameProxy:
        return self

    def unpersist(self, *blocking: Any) -> FrameProxy:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.frame, name)


def unwrap_frames(call: FoldCall) -> FoldCall:
    """Return the call with DataFrames in place of their proxies."""
    train, validation = (
        data.frame if isinstance(data, FrameProxy) else data
        for data in (call.train, call.validation)
    )
    return replace(call, train=train, validation=validation)


def unpersist_quietly(*frames: Any) -> None:
    """Release DataFrames from the cache; ignore errors, as of a stopped Spark."""
    for frame in frames:
        with suppress(Exception):
            frame.unpersist()
