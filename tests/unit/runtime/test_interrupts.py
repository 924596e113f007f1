"""Ctrl-C after Spark has returned, with real signals."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from trackmllib.runtime.interrupts import DeferredInterrupt


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def hold(presses: int, ends_wait: bool) -> list[int]:
    """Press Ctrl-C in the context; return the presses that did not raise."""
    returned = []
    try:
        with DeferredInterrupt() as interrupt:
            interrupt.ends_wait = ends_wait
            for number in range(1, presses + 1):
                press()
                assert interrupt.pressed
                returned.append(number)
    except KeyboardInterrupt:
        returned.append(0)
    return returned


@pytest.fixture(autouse=True)
def handler():
    """Python's own handler, restored after the test."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_first_ctrl_c_ends_wait():
    assert hold(1, ends_wait=True) == [1]


def test_ctrl_c_without_wait_is_raised_at_end():
    assert hold(1, ends_wait=False) == [1, 0]


def test_second_ctrl_c_is_raised_at_once():
    assert hold(2, ends_wait=True) == [1, 0]


def test_second_ctrl_c_inside_handler_is_raised():
    calls = []

    def slow(number, frame):
        calls.append(number)
        if len(calls) == 1:
            press()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, slow)
    assert hold(1, ends_wait=True) == [0]
    assert len(calls) == 2
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_silent_handler_ends_no_wait():
    calls = []
    signal.signal(signal.SIGINT, lambda *arguments: calls.append(arguments))
    with DeferredInterrupt() as interrupt:
        press()
        press()
    assert len(calls) == 2
    assert not interrupt.pressed
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_handler_set_meanwhile_stays():
    def other(number, frame):
        raise AssertionError

    with DeferredInterrupt():
        signal.signal(signal.SIGINT, other)
    assert signal.getsignal(signal.SIGINT) is other
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("handler_before", [signal.SIG_IGN, signal.SIG_DFL])
def test_non_python_handler_stays(handler_before):
    signal.signal(signal.SIGINT, handler_before)
    with DeferredInterrupt():
        assert signal.getsignal(signal.SIGINT) == handler_before
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_interrupt_passes_while_another_thread_defers_it():
    inside, pressed = threading.Event(), threading.Event()

    def fit():
        with DeferredInterrupt():
            inside.set()
            pressed.wait(10)

    thread = threading.Thread(target=fit)
    thread.start()
    inside.wait(10)
    with pytest.raises(KeyboardInterrupt):
        press()
    pressed.set()
    thread.join(10)
