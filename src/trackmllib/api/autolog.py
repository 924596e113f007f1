"""``autolog()``, ``flush()`` and the process-wide session."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trackmllib.config.sentinel import default
from trackmllib.support import requirements

if TYPE_CHECKING:
    from trackmllib.config.settings import Settings
    from trackmllib.reporting.results import Results
    from trackmllib.runtime.session import Session

# Callers of autolog(); a higher one takes precedence.
STARTUP, MLFLOW, PROGRAM = 1, 2, 3

_lock = threading.RLock()
_session: Session | None = None
# The arguments of the last call of each caller.
_calls: dict[int, Mapping[str, Any]] = {}


def autolog(
    *,
    disable: bool = default(False),
    silent: bool = default(False),
    flush_timeout: float = default(30.0),
    wait: bool = default(True),
    redact: str | Iterable[str] = default(()),
    metrics: str | Iterable[Any] = default(()),
    train_scores: bool = default(False),
    log_models: str | bool | None = default("none"),
    registered_model_name: str | None = default(None),
    log_input_examples: bool = default(False),
    log_datasets: bool = default(False),
    rank_tags: bool = default(False),
    primary_metric: bool = default(False),
    extra_tags: Mapping[str, str] | None = default(None),
    log_post_training_metrics: bool | None = default(None),
    exclusive: bool = default(False),
    progress: bool = default(True),
    report: bool = default(True),
    history_server: str | None = default(None),
    children: str = default("all"),
    record: bool = default(True),
    accelerate: bool = default(False),
    reuse_stages: bool | None = default(None),
    nested_fits: bool | None = default(None),
    parallel_folds: bool | None = default(None),
    max_cached_folds: int = default(2),
    resume: bool | str = default(False),
    code_version: str | None = default(None),
    data_version: str | None = default(None),
    on_error: str = default("raise"),
    candidate_timeout: float | None = default(None),
) -> None:
    """Record every hyperparameter search of Spark MLlib in MLflow.

    From now on, in this process, each ``fit()`` of a ``CrossValidator`` or a
    ``TrainValidationSplit`` is logged to the active MLflow run of the calling thread, or to a new
    run, with a nested child run per candidate. ``fit()`` computes, returns and raises what it does
    without trackmllib. Neither a Spark session nor a tracking server has to exist yet. Idempotent;
    the last call's arguments win.

    An argument that you leave out is read from the Spark conf at each ``fit()``
    (``spark.trackmllib.flushTimeout``), or else from the environment
    (``TRACKMLLIB_FLUSH_TIMEOUT``). ``docs/reference/configuration.md`` has a table of all names.

    Records stay on disk (in ``TRACKMLLIB_HOME``) until the server has acknowledged them.
    ``autolog()`` also recovers the searches of your dead processes on this machine: it delivers
    their records in the background and ends their runs as KILLED.

    Args:
        disable: Stop recording and remove all patches from pyspark. Other arguments are ignored.
        silent: Hide all warnings of trackmllib, and the progress.
        flush_timeout: Longest wait for delivery in seconds, at the end of ``fit()`` and of the
            process. Whatever is not delivered by then stays on disk.
        wait: False: ``fit()`` does not wait for delivery.
        redact: Regular expressions for names of params that are logged as ``***``, in addition to
            those that look secret (``password``, ``apiKey``, …).
        metrics: Further metrics of each fit: names of metrics of the tuner's evaluator
            (``["f1", "accuracy"]``), or evaluators. Takes passes over the validation data.
        train_scores: Compute the tuner's metric and ``metrics`` on the training data of each fold,
            too, and log them with the prefix ``train_``. Takes passes over the training data.
        log_models: Models to log: ``"none"``, the ``"best"`` one of a search, or ``"all"``: also
            the model of each fit. None and False mean ``"none"``.
        registered_model_name: Name under which the best model is registered in the model registry;
            requires ``log_models``. None registers no model.
        log_input_examples: Log the first 5 rows of the data with each model. Takes a Spark job.
        log_datasets: Log the data of the search as a dataset of the parent run and the child runs.
        rank_tags: Tag each child run with its rank when the search ends (``trackmllib.rank``).
            Takes a request per child run.
        primary_metric: Make the metric of the search the primary metric of its experiment, which
            the MLflow UI shows for each run, unless the experiment has one.
        extra_tags: Tags for the parent run and the child runs. Keys must not start with
            ``mlflow.`` or ``trackmllib.``.
        log_post_training_metrics: Log what ``evaluator.evaluate(model.transform(holdout))`` returns
            for the model of a search. None: if ``mlflow.pyspark.ml.autolog()`` does so for others.
        exclusive: Log each search to a new run, even if a run is active.
        progress: Show progress on standard error, from the third second of a search on.
        report: Log a report as an artifact of the parent run when the search ends.
        history_server: Address of Spark's history server, for a link on the parent run. None:
            detected on YARN.
        children: Candidates that get child runs: ``"all"``, or ``"best:20"`` for the 20 best when
            the search ends. ``results.csv`` lists all candidates.
        record: False: log nothing to MLflow; progress, results and the other opt-ins work.
        accelerate: Turn on ``reuse_stages``, ``nested_fits`` and, if all stages and the evaluator
            are from ``pyspark.ml``, ``parallel_folds``. False for one of them keeps it off.
        reuse_stages: Fit ``Pipeline`` stages that several candidates share only once per fold, and
            cache their output meanwhile. None: same as ``accelerate``.
        nested_fits: Of candidates that differ only in a param such as the ``maxDepth`` of trees,
            fit only the largest, and derive the others' models. None: same as ``accelerate``.
        parallel_folds: Compute the fits of all folds in one pool of ``parallelism`` threads. None:
            same as ``accelerate``, for stages and evaluators from ``pyspark.ml``.
        max_cached_folds: Number of folds whose data ``parallel_folds`` caches at a time.
        resume: Reuse the scores of earlier searches where Spark would compute the same. ``"seed"``
            also reuses the seeds of an earlier search where you set none.
        code_version: Version of your own code, for ``resume``: equal versions mean equal code.
            Without it, ``resume`` reuses no scores of a search that contains your own code, which
            includes packages installed from a folder, a wheel or a repository.
        data_version: Version of your data, for ``resume``, compared instead of a hash of the rows:
            equal versions mean equal data, folds and layout.
        on_error: What to do with a candidate that fails: ``"raise"``, as in Spark; ``"skip"``;
            ``"retry:2"``: retry its fit up to twice; or ``"retry:2,skip"``.
        candidate_timeout: Timeout in seconds per fit; a fit that exceeds it fails, and its Spark
            jobs are cancelled. Pure-Python work can't be cancelled. None: no timeout.

    Raises:
        trackmllib.DependencyError: pyspark, mlflow or pydantic is missing or too old.
        TypeError: An argument has the wrong type; the message says what is allowed.
        ValueError: An argument has an invalid value. An invalid environment variable or conf value
            only warns, and has no effect.

    Example:
        >>> trackmllib.autolog(flush_timeout=60, redact=["^internal"])
        >>> model = cv.fit(train)  # a parent run with a child run for each candidate
    """
    # Must be first, before there are other local variables.
    arguments = dict(locals())
    # Set before the lock is taken, so that a waiting caller yields to the program.
    _calls[PROGRAM] = arguments
    with _lock:
        _apply(arguments)


def autolog_for(caller: int, arguments: Mapping[str, Any] | None) -> Settings | None:
    """Call ``autolog()`` for an integration, unless another has precedence.

    Returns at once if another thread is in ``autolog()``, because that thread may wait for the
    import that this call is part of.

    :param arguments: Arguments of ``autolog()``; None to revoke the last call of this caller, so
        that the last call of another caller applies again.
    :returns: The settings of the call; None if it has no effect, or recording is off.
    :raises: What ``autolog()`` raises. The last call of this caller then still applies.
    """
    if not _lock.acquire(blocking=False):
        return None
    try:
        if max(_calls, default=caller) > caller or (arguments is None and caller not in _calls):
            return None
        if arguments is None:
            del _calls[caller]
            _apply(_calls[max(_calls)] if _calls else {"disable": True})
        else:
            _apply(arguments)
            _calls[caller] = arguments
        return _session.settings if _session is not None and _session.is_running else None
    finally:
        _lock.release()


def _apply(arguments: Mapping[str, Any]) -> None:
    """Apply arguments of ``autolog()``; the caller holds the lock."""
    global _session
    if arguments.get("disable") is True:
        if _session is not None:
            _session.stop()
        return
    requirements.check()
    # Imported late, so that importing trackmllib loads neither pyspark, mlflow nor pydantic.
    from trackmllib.config.settings import Settings
    from trackmllib.outbox.directory import VARIABLE, OutboxDirectory
    from trackmllib.runtime.session import Session

    messages: list[str] = []
    settings = Settings.read(environ=os.environ, warn=messages.append, **arguments)
    if _session is not None and _session.process != os.getpid():
        _session.stop()
        _session = None
    if _session is None:
        home = OutboxDirectory.for_user()
        if home.unusable:
            messages.append(
                f"{home.unusable}. The training is not affected. Records stay in memory, and "
                "are lost if this process dies before they are delivered. Fix: set "
                f"{VARIABLE} to a directory of your own, and restart the program."
            )
        _session = Session(settings, directory=None if home.unusable else home)
    _session.settings = settings
    _session.user_warnings.warn_once(messages)
    _session.start()


def flush(timeout: float | None = None) -> bool:
    """Wait until the server has all records of this process.

    ``flush()`` does not wait for operations that are deferred, rejected or need other credentials.

    Args:
        timeout: Longest wait in seconds; None for no limit.

    Returns:
        Whether everything is delivered. False if an operation waits, is deferred or is rejected, or
        a report is not created yet. Undelivered operations stay on disk.

    Example:
        >>> if not trackmllib.flush(600):
        ...     raise SystemExit("the tracking server does not have everything")
    """
    session = _session
    if session is None or session.process != os.getpid():
        return True
    return session.flush(timeout)


def results_of(search: Any) -> Results | None:
    """Results of the search of a tuner or a model, or None."""
    return None if _session is None else _session.results_registry.results(search)


def current_settings() -> Settings | None:
    """Settings of the last ``autolog()``, or None."""
    return None if _session is None else _session.settings


def exchange(session: Session | None, *, start: bool = True) -> tuple[Session | None, bool]:
    """Replace the current session, for tests.

    :returns: The old session, which is stopped, and whether it was running.
    """
    global _session
    with _lock:
        before, _session = _session, session
        was_running = before is not None and before.is_running
        if before is not None:
            before.stop()
        if session is not None and start:
            session.start()
        return before, was_running
