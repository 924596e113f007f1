"""Recording that MLflow's ``autolog()`` switches on.

``mlflow.autolog()`` calls ``mlflow.pyspark.ml.autolog()``, at once or after the import of
``pyspark.ml``, so a wrapper of the latter sees the calls of both. Its arguments, defaults included,
apply to searches.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any

from trackmllib.api.autolog import MLFLOW, autolog_for
from trackmllib.integrations.process_startup import is_spark_worker
from trackmllib.integrations.startup_variable import VARIABLE, BadVariable, is_on
from trackmllib.support.guard import Guard, attempt

_announced = False


def wrap(module: Any) -> None:
    """Wrap ``autolog`` of ``mlflow.pyspark.ml``, except in a Spark worker."""
    if is_spark_worker():
        return
    original = module.autolog

    @functools.wraps(original)
    def autolog(*args: Any, **kwargs: Any) -> Any:
        with _Follow(partial(_arguments, original, args, kwargs)):
            return original(*args, **kwargs)

    module.autolog = autolog


class _Follow:
    """Context that applies MLflow's ``autolog()`` to searches, too.

    It does so even if the call fails, as on Spark Connect; ``mlflow.autolog()`` hides that error.
    """

    def __init__(self, arguments: Callable[[], Mapping[str, Any]]) -> None:
        self._arguments = arguments

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
        arguments = attempt(self._arguments, None)
        if arguments is None:
            # MLflow has no such arguments.
            return
        report = partial(_report, silent=bool(arguments.get("silent")))
        strict = os.environ.get("TRACKMLLIB_STRICT") == "1"
        with Guard("switching recording on", report, strict=strict):
            _apply(arguments)


def _arguments(
    original: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """All arguments of a call by name, defaults included."""
    bound = inspect.signature(original).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def _apply(arguments: Mapping[str, Any]) -> None:
    """Switch recording on or off, by the arguments of MLflow's ``autolog()``."""
    # Imported late, because it imports MLflow.
    from trackmllib.tracking.mlflow_autologging import supports_installed_pyspark

    if arguments.get("disable") or (
        arguments.get("disable_for_unsupported_versions") and not supports_installed_pyspark()
    ):
        autolog_for(MLFLOW, None)
        return
    variable = os.environ.get(VARIABLE, "")
    if variable.strip() and not is_on(variable):
        return
    settings = autolog_for(MLFLOW, options(arguments))
    if settings is not None and settings.enabled and not (settings.silent or variable.strip()):
        _announce()


def options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``autolog()`` for all arguments of MLflow's ``autolog()``."""
    # Imported late, because it imports pydantic.
    from trackmllib.config.option_types import RESERVED_PREFIXES

    logs_models = bool(arguments.get("log_models", True))
    return {
        "from_mlflow": True,
        "silent": bool(arguments.get("silent")),
        "exclusive": bool(arguments.get("exclusive")),
        "log_models": "best" if logs_models else "none",
        # MLflow registers only what it logs.
        "registered_model_name": arguments.get("registered_model_name") if logs_models else None,
        "log_input_examples": bool(arguments.get("log_input_examples")),
        "log_datasets": bool(arguments.get("log_datasets", True)),
        # MLflow accepts reserved keys, but for its own runs only.
        "extra_tags": {
            str(key): str(value)
            for key, value in (arguments.get("extra_tags") or {}).items()
            if str(key).strip() and not str(key).startswith(RESERVED_PREFIXES)
        }
        or None,
    }


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
