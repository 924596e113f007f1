"""The limiter of the fleet's gateway, and the figures from its log."""

from __future__ import annotations

import pytest

from benchmarks.fleet.gateway import Limiter, LoggedRequest
from benchmarks.fleet.log_figures import Outage, figures_of, most_within


def test_early_requests_wait_for_their_turn():
    limiter = Limiter(10.0, 100, delay=True)
    waits = [limiter.admit(5.0) for _ in range(5)]
    assert waits == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert limiter.admit(5.2) == pytest.approx(0.3)
    assert limiter.admit(60.0) == 0.0


def test_request_is_refused_if_too_many_wait():
    limiter = Limiter(10.0, 2, delay=True)
    assert [limiter.admit(0.0) is None for _ in range(5)] == [False, False, False, True, True]
    assert limiter.admit(0.1) == pytest.approx(0.2)
    assert limiter.admit(0.1) is None


def test_burst_passes_at_once_without_delay():
    limiter = Limiter(10.0, 2, delay=False)
    assert [limiter.admit(0.0) for _ in range(5)] == [0.0, 0.0, 0.0, None, None]
    passed = sum(limiter.admit(tick / 1000) is not None for tick in range(1, 10_001))
    assert passed == 100


def seen(came, who, status=200):
    return LoggedRequest(came, came + 0.1, 0.05, who, status, "GET /")


def test_figures_of_a_log():
    log = [seen(second + 0.5 * (who == "b"), who) for second in range(10) for who in "ab"]
    figures = figures_of([*log, seen(4.2, "a", 429)], rate=2.0)
    assert figures["requests"] == 20
    assert figures["refused"] == 1
    assert figures["seconds"] == pytest.approx(9.6)
    assert figures["time_ratio"] == pytest.approx(0.96)
    assert figures["at_server"] == pytest.approx(20 * 0.05 / 9.6)
    assert figures["longest_gap_seconds"] == pytest.approx(1.0)
    assert figures["last_over_first"] == pytest.approx(9.6 / 9.1)


def test_outage_is_excluded_but_late_return_of_drivers_is_not():
    log = [seen(time, "a") for time in (0, 1, 2, 12, 13)]
    log += [seen(time, "b") for time in (0, 1, 2, 17, 18)]
    refused = [seen(time, "a", 502) for time in (3, 4, 6)]
    figures = figures_of([*log, *refused], rate=2.0, away=Outage(2.1, 11.6))
    assert figures["not_passed_on"] == 3
    assert figures["away_seconds"] == pytest.approx(9.5)
    assert figures["seconds"] == pytest.approx(8.6)
    assert figures["longest_gap_seconds"] == pytest.approx(1.0)
    assert figures["return_seconds"] == pytest.approx(5.5)
    assert figures["herd"] == 1


def test_peak_number_of_requests():
    assert most_within([], 0.1) == 0
    assert most_within([0.0, 0.05, 0.09, 0.3, 0.31], 0.1) == 3
