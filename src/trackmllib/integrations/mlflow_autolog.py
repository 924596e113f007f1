"""Recording that MLflow's ``autolog()`` switches on.

``mlflow.autolog()`` calls ``mlflow.pyspark.ml.autolog()``, at once or after the import of
``pyspark.ml``, so a wrapper of the latter sees the calls of both. MLflow passes all arguments,
including defaults; a wrapper of ``mlflow.autolog`` records which ones the program has given.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any

from trackmllib.api.autolog import MLFLOW, autolog_for
from trackmllib.integrations.process_startup import is_spark_worker
from trackmllib.integrations.startup_variable import VARIABLE, BadVariable, is_on
from trackmllib.support.guard import Guard, attempt

_FLUENT = "mlflow.tracking.fluent"

_announced = False


def wrap(module: Any, given_to_mlflow: Callable[[], Container[str]]) -> None:
    """Wrap ``autolog`` of ``mlflow.pyspark.ml``, except in a Spark worker.

    :param given_to_mlflow: Returns the names of the arguments that the program gave in its last
        call of ``mlflow.autolog()``.
    """
    if is_spark_worker():
        return
    original = module.autolog

    @functools.wraps(original)
    def autolog(*args: Any, **kwargs: Any) -> Any:
        with _Follow(partial(_given, original, args, kwargs, given_to_mlflow)):
            return original(*args, **kwargs)

    module.autolog = autolog


class _Follow:
    """Context that applies MLflow's ``autolog()`` to searches, too.

    It does so even if the call fails, as on Spark Connect; ``mlflow.autolog()`` hides that error.
    """

    def __init__(self, given: Callable[[], Mapping[str, Any]]) -> None:
        self._given = given

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, Exception):
            return
        given = attempt(self._given, None)
        if given is None:
            # MLflow has no such arguments.
            return
        report = partial(_report, silent=bool(given.get("silent")))
        strict = os.environ.get("TRACKMLLIB_STRICT") == "1"
        with Guard("switching recording on", report, strict=strict):
            _apply(given)


def _given(
    original: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    given_to_mlflow: Callable[[], Container[str]],
) -> dict[str, Any]:
    """The arguments that the program has given, or that are not the defaults."""
    signature = inspect.signature(original)
    values = signature.bind(*args, **kwargs).arguments
    given = given_to_mlflow() if _is_called_by_mlflow() else values
    return {
        name: value
        for name, value in values.items()
        if name in given or value != signature.parameters[name].default
    }


def _is_called_by_mlflow() -> bool:
    """Whether the caller is ``mlflow.autolog()``, or its import hook."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == _FLUENT:
            return True
        frame = frame.f_back
    return False


def _apply(given: Mapping[str, Any]) -> None:
    """Switch recording on or off, by the arguments given to MLflow."""
    # Imported late, because it imports MLflow.
    from trackmllib.tracking.mlflow_autologging import supports_installed_pyspark

    if given.get("disable") or (
        given.get("disable_for_unsupported_versions") and not supports_installed_pyspark()
    ):
        autolog_for(MLFLOW, None)
        return
    variable = os.environ.get(VARIABLE, "")
    if variable.strip() and not is_on(variable):
        return
    settings = autolog_for(MLFLOW, options(given))
    if settings is not None and settings.enabled and not (settings.silent or variable.strip()):
        _announce()


def options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``autolog()`` for arguments given to MLflow."""
    # Imported late, because it imports pydantic.
    from trackmllib.config.option_types import RESERVED_PREFIXES

    found: dict[str, Any] = {"from_mlflow": True}
    for flag in ("silent", "exclusive", "log_input_examples"):
        if given.get(flag):
            found[flag] = True
    if "log_datasets" in given:
        found["log_datasets"] = bool(given["log_datasets"])
    if "log_models" in given:
        found["log_models"] = "best" if given["log_models"] else "none"
    if given.get("registered_model_name") is not None and given.get("log_models", True):
        # MLflow logs models by default, and registers what it logs.
        found["registered_model_name"] = given["registered_model_name"]
        found["log_models"] = "best"
    if given.get("extra_tags"):
        # MLflow accepts reserved keys, but trackmllib refuses them.
        found["extra_tags"] = {
            str(key): str(value)
            for key, value in given["extra_tags"].items()
            if str(key).strip() and not str(key).startswith(RESERVED_PREFIXES)
        }
    return found


def _announce() -> None:
    """Announce the recording once per process, and how to prevent it."""
    global _announced
    stream = sys.stderr
    if _announced or stream is None:
        return
    _announced = True
    with suppress(Exception):
        stream.write(
            "trackmllib: mlflow.autolog() is on, so trackmllib records the searches of "
            f"CrossValidator and TrainValidationSplit; set {VARIABLE}=0 to prevent this.\n"
        )
        stream.flush()


def _report(doing: str, error: Exception, *, silent: bool) -> None:
    text = str(error)
    if not isinstance(error, BadVariable):
        text = (
            "mlflow.autolog() is on, but trackmllib.autolog() failed. Searches are not recorded; "
            f"the training is not affected. {type(error).__name__}: {error}"
        )
    level = logging.DEBUG if silent else logging.WARNING
    logging.getLogger("trackmllib").log(level, "%s", text)
