"""Callbacks before Python stops its thread pools."""

from __future__ import annotations

import sys

import pytest

from support.commands import environ, finished

pytestmark = pytest.mark.versions

FAILING = """
import threading, time
from trackmllib.support import thread_exit

thread_exit.before_pools_stop(lambda: 1 / 0)

def train():
    threading.main_thread().join()
    time.sleep(0.5)
    print("trained")

threading.Thread(target=train).start()
"""


def test_error_of_callback_does_not_end_user_threads():
    done = finished([sys.executable, "-c", FAILING], environ())
    assert (done.stdout, done.stderr, done.returncode) == ("trained\n", "", 0)
