"""A last call before Python stops its thread pools."""

from __future__ import annotations

import sys

from commands import environ, finished

FAILING = """
import threading, time
from trackmllib import thread_exit

thread_exit.before_pools_stop(lambda: 1 / 0)

def train():
    threading.main_thread().join()
    time.sleep(0.5)
    print("trained")

threading.Thread(target=train).start()
"""


def test_error_at_exit_ends_no_thread_of_the_user():
    done = finished([sys.executable, "-c", FAILING], environ())
    assert (done.stdout, done.stderr, done.returncode) == ("trained\n", "", 0)
