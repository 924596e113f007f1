"""The switch, and the only process-wide state."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from trackmllib import requirements

if TYPE_CHECKING:
    from trackmllib.session import Session

_lock = threading.RLock()
_session: Session | None = None


def autolog(*, disable: bool = False, silent: bool = False) -> None:
    """Record every search of Spark MLlib's tuners in MLflow, from now on in this process.

    Each ``fit()`` of a ``CrossValidator`` or a ``TrainValidationSplit`` is recorded: on the active
    MLflow run of the calling thread or else on a new one, with a nested child run for each
    candidate. What ``fit()`` computes and raises stays the same. Calling it twice is calling it
    once; with the arguments of the last call.

    Neither a Spark session nor a tracking server has to be there yet. A search is left out while
    the Spark conf ``spark.trackmllib.enabled`` is ``false``.

    :param disable: Stop recording, and put back the functions of pyspark that were there.
    :param silent: Write no warnings when something could not be recorded.
    :raises trackmllib.DependencyError: pyspark or mlflow is missing or too old.
    """
    global _session
    with _lock:
        if disable:
            if _session is not None:
                _session.stop()
            return
        requirements.check()
        # Only here: importing trackmllib loads neither pyspark nor mlflow, and takes no time.
        from trackmllib.session import Session
        from trackmllib.settings import Settings

        settings = Settings.read(silent=silent, environ=os.environ)
        if _session is None:
            _session = Session(settings)
        elif _session.process != os.getpid():
            _session.stop()
            _session = Session(settings)
        _session.settings = settings
        _session.start()


def exchange(session: Session | None, *, start: bool = True) -> tuple[Session | None, bool]:
    """Put another session in the place of the current one, for tests.

    Returns that one, stopped, and whether it was running.
    """
    global _session
    with _lock:
        before, _session = _session, session
        was_running = before is not None and before.running
        if before is not None:
            before.stop()
        if session is not None and start:
            session.start()
        return before, was_running
