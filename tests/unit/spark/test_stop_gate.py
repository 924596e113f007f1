"""The gate in front of fits, once the search is to stop."""

from __future__ import annotations

import threading

import pytest

from trackmllib.exceptions import SearchStopped
from trackmllib.spark.instrumentation.stop_gate import StopGate


def test_no_fit_begins_after_a_stop_request():
    requested = False
    gate = StopGate(lambda: requested)
    with gate.running_fit():
        requested = True
    with pytest.raises(SearchStopped), gate.running_fit():
        pytest.fail("a fit began")
    requested = False
    with pytest.raises(SearchStopped), gate.running_fit():
        pytest.fail("the gate opened again")


def test_stop_waits_for_running_fits():
    requested = False
    gate = StopGate(lambda: requested)
    stopped = threading.Event()

    def next_fit():
        with pytest.raises(SearchStopped), gate.running_fit():
            pass
        stopped.set()

    with gate.running_fit():
        requested = True
        thread = threading.Thread(target=next_fit)
        thread.start()
        assert not stopped.wait(0.2)
    assert stopped.wait(10)
    thread.join()
