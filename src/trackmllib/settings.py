"""Arguments, environment and Spark conf, read into one frozen Settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

STRICT = "TRACKMLLIB_STRICT"
ENABLED_KEYS = ("spark.trackmllib.enabled", "spark.databricks.mlflow.trackMLlib.enabled")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How searches are recorded.

    ``silent`` keeps our warnings off the console, ``strict`` raises our errors instead of warning
    of them (for tests), ``flush_timeout`` bounds in seconds how long ``fit()`` waits at its end.
    """

    silent: bool = False
    strict: bool = False
    flush_timeout: float = 30.0

    @classmethod
    def read(cls, *, silent: bool, environ: Mapping[str, str]) -> Settings:
        """Settings from the arguments of ``autolog()`` and the environment."""
        return cls(silent=silent, strict=environ.get(STRICT, "") == "1")


def is_enabled(conf: Callable[[str], str | None], refuse: Callable[[str], None]) -> bool:
    """Whether the Spark conf lets this search be recorded: no key says ``false``.

    ``conf`` returns the value of a key or None. A value other than true or false counts as true,
    and ``refuse`` is handed a sentence that names key, value and what is allowed.
    """
    enabled = True
    for key in ENABLED_KEYS:
        value = conf(key)
        match "true" if value is None else value.strip().lower():
            case "true":
                pass
            case "false":
                enabled = False
            case _:
                refuse(f"{key} is {value!r}, but must be true or false; the search is recorded.")
    return enabled
