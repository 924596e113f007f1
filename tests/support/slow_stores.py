"""Stores that accept operations late."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import pytest

from trackmllib.tracking.executor import MlflowExecutor


@contextmanager
def slow_store(seconds):
    """Delay each call to the store by so many seconds."""
    apply = MlflowExecutor.apply

    def slow(self, operation, again=False):
        time.sleep(seconds)
        apply(self, operation, again)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowExecutor, "apply", slow)
        yield


@contextmanager
def stopped_store():
    """Keep each call to the store waiting until the block ends."""
    apply = MlflowExecutor.apply
    goes_on = threading.Event()

    def waiting(self, operation, again=False):
        assert goes_on.wait(60)
        apply(self, operation, again)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowExecutor, "apply", waiting)
        try:
            yield
        finally:
            goes_on.set()
