"""SIGTERM in a process of its own: what runs before the end, and that there is one."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import pytest

PROGRAM = """
    import os, signal, sys, threading, time
    from trackmllib.signals import TerminationHandler

    lock = threading.Lock()

    def finish():
        with lock:
            os.write(1, b"finished\\n")

    handler = TerminationHandler(finish, lambda: {longest})
    handler.install()
    {where}
"""

IN_THE_USERS_CODE = """
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGTERM]).start()
    time.sleep(30)
    os.write(1, b"slept\\n")
"""
# As a module of ours that holds a lock when the signal comes.
IN_OUR_CODE = """
def hold(lock):
    with lock:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        os.write(1, b"released\\n")
    time.sleep(30)

__name__ = "trackmllib.outbox.anything"
hold(lock)
"""
# A lock of somebody else's, such as that of a log handler: nobody can tell.
UNDER_A_LOCK_OF_OTHERS = """
    with lock:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""


@pytest.mark.parametrize(
    ("where", "longest", "said"),
    [
        (IN_THE_USERS_CODE, 20, "finished\n"),
        (IN_OUR_CODE, 20, "released\nfinished\n"),
        (UNDER_A_LOCK_OF_OTHERS, 0.5, "finished\n"),
    ],
)
def test_sigterm_lets_us_finish_and_then_ends_the_process(where, longest, said):
    program = textwrap.dedent(PROGRAM).format(longest=longest, where="") + textwrap.dedent(where)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert done.stdout == said
    assert time.monotonic() - began < 15
