"""SIGTERM in a separate process: the handler runs, and the process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import pytest

from support.restricted_processes import CONTAINER, child_of, without_more_threads

PROGRAM = """
    import os, signal, sys, threading, time
    from trackmllib.runtime.signals import TerminationHandler

    lock = threading.Lock()

    def finish():
        os.write(2, b"finishing\\n")
        with lock:
            os.write(1, b"finished\\n")

    handler = TerminationHandler(finish, lambda: {timeout})
    handler.install()
"""

IN_THE_USERS_CODE = """
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGTERM]).start()
    time.sleep(30)
    os.write(1, b"slept\\n")
"""
# A module of trackmllib that holds a lock when the signal arrives.
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
# Locks outside trackmllib, such as those of log handlers, cannot be detected.
UNDER_A_LOCK_OF_OTHERS = """
    with lock:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""
NEVER_RELEASES_THE_LOCK = """
    with lock:
        os.kill(os.getpid(), signal.SIGTERM)
        while True:
            time.sleep(1)
"""
BEGINNING_OF_A_CONTAINER = """
    assert os.getpid() == 1
    """
UNTIL_A_SIGNAL_COMES = """
    os.write(1, b"ready\\n")
    while True:
        time.sleep(1)
"""
AT_THE_THREAD_LIMIT = f"""
{textwrap.indent(without_more_threads(), "    ")}
    def search():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        except BaseException as error:
            os.write(1, repr(error).encode())
"""
IN_THE_USERS_CODE_AT_THE_THREAD_LIMIT = f"""
{AT_THE_THREAD_LIMIT}
    search()
"""
UNDER_A_LOCK_AT_THE_THREAD_LIMIT = f"""
{AT_THE_THREAD_LIMIT}
    with lock:
        search()
"""
# The handler must not interrupt our own code, which may be writing to the outbox.
IN_OUR_CODE_AT_THE_THREAD_LIMIT = f"""
{AT_THE_THREAD_LIMIT}
    __name__ = "trackmllib.outbox.anything"
    exec("def search_of_ours(): search()")
    search_of_ours()
"""


def program(where: str, timeout: float = 20) -> list[str]:
    text = textwrap.dedent(PROGRAM).format(timeout=timeout) + textwrap.dedent(where)
    return [sys.executable, "-c", text]


@pytest.mark.parametrize(
    ("where", "timeout", "printed"),
    [
        (IN_THE_USERS_CODE, 20, "finished\n"),
        (IN_OUR_CODE, 20, "released\nfinished\n"),
        (UNDER_A_LOCK_OF_OTHERS, 0.5, "finished\n"),
        (NEVER_RELEASES_THE_LOCK, 0.5, ""),
        (IN_THE_USERS_CODE_AT_THE_THREAD_LIMIT, 20, "finished\n"),
        (UNDER_A_LOCK_AT_THE_THREAD_LIMIT, 0.5, ""),
        (IN_OUR_CODE_AT_THE_THREAD_LIMIT, 20, ""),
    ],
    ids=[
        *("in the user's code", "in our code", "under a lock", "under a lock for ever"),
        *("at the thread limit", "under a lock there", "in our code there"),
    ],
)
def test_sigterm_runs_handler_and_ends_process(where, timeout, printed):
    began = time.monotonic()
    done = subprocess.run(program(where, timeout), capture_output=True, text=True, timeout=25)
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert done.stdout == printed
    assert time.monotonic() - began < 15


@contextmanager
def container(where: str):
    """The ready first process of a container, and its id outside."""
    with subprocess.Popen(
        [*CONTAINER, *program(f"{BEGINNING_OF_A_CONTAINER}{where}{UNTIL_A_SIGNAL_COMES}")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as outside:
        try:
            assert outside.stdout.readline() == "ready\n", outside.stderr.read()
            yield outside, child_of(outside.pid)
        finally:
            outside.kill()


only_linux = pytest.mark.skipif(sys.platform != "linux", reason="there are no PID namespaces")


@only_linux
def test_sigterm_ends_first_process_of_container():
    """The kernel ignores a signal with the default action there."""
    with container("") as (outside, pid):
        os.kill(pid, signal.SIGTERM)
        printed, _ = outside.communicate(timeout=15)
    assert (outside.returncode, printed) == (128 + signal.SIGTERM, "finished\n")


@only_linux
def test_second_sigterm_ends_first_process_of_container_at_once():
    with container("lock.acquire()") as (outside, pid):
        os.kill(pid, signal.SIGTERM)
        assert outside.stderr.readline() == "finishing\n"
        os.kill(pid, signal.SIGTERM)
        printed, _ = outside.communicate(timeout=15)
    assert (outside.returncode, printed) == (128 + signal.SIGTERM, "")


@only_linux
def test_first_process_of_container_ignores_sigterm_without_handler():
    """As it does without trackmllib."""
    with container("handler.uninstall()") as (outside, pid):
        os.kill(pid, signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            outside.wait(1)
