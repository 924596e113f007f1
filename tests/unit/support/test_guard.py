"""Guard around our own code."""

from __future__ import annotations

import pytest

from trackmllib.support.guard import Guard

pytestmark = pytest.mark.versions


def test_guard_reports_errors_and_raises_interrupts():
    reports = []
    guard = Guard("doing something", lambda doing, error: reports.append((doing, str(error))))
    with guard:
        raise ValueError("a bug")
    assert reports == [("doing something", "a bug")]
    for passing in (KeyboardInterrupt, SystemExit):
        with pytest.raises(passing), guard:
            raise passing
    with pytest.raises(ValueError, match="a bug"), Guard("x", lambda *_: None, strict=True):
        raise ValueError("a bug")
    assert len(reports) == 1
