"""Arguments, environment and Spark conf, read into one frozen Settings."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trackmllib.redaction import Redaction

STRICT = "TRACKMLLIB_STRICT"
MOST_SECONDS = threading.TIMEOUT_MAX
ENABLED_KEYS = ("spark.trackmllib.enabled", "spark.databricks.mlflow.trackMLlib.enabled")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How searches are recorded.

    ``silent`` keeps our warnings off the console, ``strict`` raises our errors instead of warning
    of them (for tests). ``wait`` says whether ``fit()`` waits for its delivery at its end, and
    ``flush_timeout`` for how many seconds at most, also at the end of the process. ``redaction``
    knows which params are recorded as ``***``.
    """

    silent: bool = False
    strict: bool = False
    flush_timeout: float = 30.0
    wait: bool = True
    redaction: Redaction = field(default_factory=Redaction)

    @classmethod
    def read(
        cls,
        *,
        silent: bool,
        environ: Mapping[str, str],
        flush_timeout: float = 30.0,
        wait: bool = True,
        redact: str | Iterable[str] = (),
    ) -> Settings:
        """Settings from the arguments of ``autolog()`` and the environment.

        TypeError or ValueError, with a sentence that says what is allowed, for a bad argument.
        """
        return cls(
            silent=silent,
            strict=environ.get(STRICT, "") == "1",
            flush_timeout=_seconds(flush_timeout),
            wait=wait,
            redaction=_redaction(redact),
        )


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"flush_timeout is {value!r}, but must be a number of seconds")
    if not 0 <= value <= MOST_SECONDS:
        raise ValueError(f"flush_timeout is {value!r}, but must be from 0 to {MOST_SECONDS:.0f} s")
    return float(value)


def _redaction(patterns: Any) -> Redaction:
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in given:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"redact holds {pattern!r}, which is no regular expression ({error}); it takes "
                'patterns for the names of params, as in redact=["^internal", "Url$"]'
            ) from error
    return Redaction(given)


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
