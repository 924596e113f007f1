"""The switch, and the only process-wide state."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from trackmllib import requirements
from trackmllib.options.given import default

if TYPE_CHECKING:
    from trackmllib.session import Session
    from trackmllib.view.results import Results

_lock = threading.RLock()
_session: Session | None = None
_called = False


def autolog(
    *,
    disable: bool = default(False),
    silent: bool = default(False),
    flush_timeout: float = default(30.0),
    wait: bool = default(True),
    redact: str | Iterable[str] = default(()),
    log_models: str | bool | None = default("none"),
    registered_model_name: str | None = default(None),
    log_input_examples: bool = default(False),
    log_datasets: bool = default(False),
    progress: bool = default(True),
    report: bool = default(True),
    history_server: str | None = default(None),
    children: str = default("all"),
    record: bool = default(True),
    reuse_stages: bool = default(False),
    parallel_folds: bool = default(False),
    max_cached_folds: int = default(2),
    resume: bool | str = default(False),
    code_version: str | None = default(None),
    data_version: str | None = default(None),
    on_error: str = default("raise"),
    candidate_timeout: float | None = default(None),
) -> None:
    """Record every search of Spark MLlib's tuners in MLflow, from now on in this process.

    Each ``fit()`` of a ``CrossValidator`` or a ``TrainValidationSplit`` is recorded: on the active
    MLflow run of the calling thread or else on a new one, with a nested child run for each
    candidate. What ``fit()`` computes and raises stays the same. Calling it twice is calling it
    once; with the arguments of the last call.

    Neither a Spark session nor a tracking server has to be there yet.

    An argument that is not given is read from the Spark conf at each ``fit()``
    (``spark.trackmllib.flushTimeout``), or else from the environment
    (``TRACKMLLIB_FLUSH_TIMEOUT``). A search is left out while the Spark conf
    ``spark.trackmllib.enabled`` is ``false``. ``docs/configuration.md`` has the table of all names.

    What is recorded lies on disk (``TRACKMLLIB_HOME``) until the server has it. Searches that died
    with their process, on this machine and of this user, are taken over in the background: what
    they had recorded is delivered, and their runs end as KILLED.

    :param disable: Stop recording, and put back the functions of pyspark that were there.
    :param silent: Write no warnings when something could not be recorded, and no progress.
    :param flush_timeout: For how many seconds ``fit()`` waits at its end until the server has its
        record, and the process at its end. What the server does not have by then stays on disk.
    :param wait: With False, ``fit()`` does not wait at all.
    :param redact: Regular expressions; params whose names match one anywhere are recorded as
        ``***``, as are those that look secret (``password``, ``apiKey``, …).
    :param log_models: Which models are logged: ``"none"``, the ``"best"`` one of a search, or
        ``"all"``, of each candidate. None and False mean ``"none"``.
    :param registered_model_name: The name under which the best model is put into the model
        registry; None for not at all.
    :param log_input_examples: Log some rows of the data with each model.
    :param log_datasets: Log on the main run which data the search was fitted on.
    :param progress: Show how far a search is, on standard error, from its third second on.
    :param report: When a search ends, make its report, and put it among the files of its main run.
    :param history_server: The address of Spark's history server, for a link on the main run; on
        YARN it is known without.
    :param children: Which candidates get child runs: ``"all"``, while the search runs, or
        ``"best:20"``: the 20 best, when it ends. ``results.csv`` has all of them.
    :param record: With False nothing goes to MLflow, and what else was asked for holds.
    :param reuse_stages: Fit the stages of a ``Pipeline`` that several candidates have in common
        once a fold, and keep their output (``MEMORY_AND_DISK``) until the last of these is done.
        The results stay the same wherever Spark itself is deterministic;
        ``trackmllib.explain(tuner)`` says which stages these are.
    :param parallel_folds: Compute the cells of all folds in one pool of ``parallelism`` threads,
        instead of one fold after another. The results stay the same wherever Spark itself is
        deterministic.
    :param max_cached_folds: Of how many folds ``parallel_folds`` keeps the data at a time.
    :param resume: Reuse the scores of an earlier search, of this process or another, if Spark would
        compute the same: with equal estimator, params, evaluator, versions, conf, and rows of the
        fold in equal order and partitions. Spark reads the rows before the first fit. The scores
        come from the outbox on this machine and from the tracking server. ``"seed"`` also uses the
        seeds of the earlier search where you set none.
    :param code_version: Version of your own code, by which you vouch that the code is the same
        wherever the version is. Without it, ``resume`` reuses no scores of a search with components
        that come from neither Spark nor an installed distribution.
    :param data_version: Version of the data, for ``resume`` to compare instead of the rows. You
        vouch that data, folds and layout are equivalent wherever the version is the same.
    :param on_error: What becomes of a candidate that fails. ``"raise"``: ``fit()`` raises, as Spark
        does. ``"skip"``: it has the worst possible score, and the search goes on. ``"retry:2"``:
        its cell is tried again, twice at most; also ``"retry:2,skip"``.
    :param candidate_timeout: After how many seconds a cell has failed. Its Spark jobs are
        cancelled; one that computes in Python alone goes on until it is done.
    :raises trackmllib.DependencyError: pyspark or mlflow is missing or too old.
    :raises TypeError, ValueError: An argument is not what it must be; the sentence says what that
        is. A bad variable or conf value is one warning, and has no effect.
    """
    global _session, _called
    _called = True
    with _lock:
        if disable is True:
            if _session is not None:
                _session.stop()
            return
        requirements.check()
        # Only here: importing trackmllib loads neither pyspark nor mlflow, and takes no time.
        from trackmllib.outbox.home import VARIABLE, Home
        from trackmllib.session import Session
        from trackmllib.settings import Settings

        sentences: list[str] = []
        settings = Settings.read(
            environ=os.environ,
            warn=sentences.append,
            disable=disable,
            silent=silent,
            flush_timeout=flush_timeout,
            wait=wait,
            redact=redact,
            log_models=log_models,
            registered_model_name=registered_model_name,
            log_input_examples=log_input_examples,
            log_datasets=log_datasets,
            progress=progress,
            report=report,
            history_server=history_server,
            children=children,
            record=record,
            reuse_stages=reuse_stages,
            parallel_folds=parallel_folds,
            max_cached_folds=max_cached_folds,
            resume=resume,
            code_version=code_version,
            data_version=data_version,
            on_error=on_error,
            candidate_timeout=candidate_timeout,
        )
        if _session is not None and _session.process != os.getpid():
            _session.stop()
            _session = None
        if _session is None:
            home = Home.of_user()
            if home.unusable:
                sentences.append(
                    f"{home.unusable}. The training is not affected. The record is kept in "
                    "memory, and is lost if this process dies before it is delivered. Set "
                    f"{VARIABLE} to a folder of your own, and start the program again."
                )
            _session = Session(settings, home=None if home.unusable else home)
        _session.settings = settings
        _session.voice.once(sentences)
        _session.start()


def autolog_unless_called() -> None:
    """What the start of a process does: ``autolog()``, unless the program has called it itself.

    A call in another thread is not waited for: it may be waiting for the import that this one is
    part of.
    """
    if not _lock.acquire(blocking=False):
        return
    try:
        if not _called:
            autolog()
    finally:
        _lock.release()


def flush(timeout: float | None = None) -> bool:
    """Wait until everything that this process has recorded is on its tracking server.

    :param timeout: For how many seconds at most; None waits for as long as it takes.
    :returns: Whether everything is delivered: False while an operation waits, is deferred or is
        rejected, or a report is still to be made. The rest stays on disk. ``flush`` does not wait
        for operations that are deferred or rejected, or that need other credentials.
    """
    session = _session
    if session is None or session.process != os.getpid():
        return True
    return session.flush(timeout)


def results_of(thing: Any) -> Results | None:
    """The results of the search of a tuner or a model; None if none is known."""
    return None if _session is None else _session.afterwards.results(thing)


def code_version() -> str | None:
    """The ``code_version`` of ``autolog()``, or None."""
    return None if _session is None else _session.settings.code_version


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
