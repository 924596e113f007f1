"""Types of options, with their descriptions in error messages."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from trackmllib.config.children import child_run_limit
from trackmllib.config.metrics import parse_metrics
from trackmllib.config.on_error import parse_on_error

MAX_SECONDS = threading.TIMEOUT_MAX
# Prefixes of tags that only MLflow and trackmllib set.
RESERVED_PREFIXES = ("mlflow.", "trackmllib.")


@dataclass(frozen=True)
class Expected:
    """Description of the values of an option, for error messages.

    ``as_text`` is for variables and conf keys, if it differs. ``suggestions`` maps probable
    mistakes to valid values.
    """

    as_argument: str
    as_text: str = ""
    suggestions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NegatedBy:
    """Argument of ``autolog()`` that is the opposite of the option."""

    argument: str


@dataclass(frozen=True)
class ExtraKey:
    """Another Spark conf key for the option."""

    key: str


@dataclass(frozen=True)
class ReadBy:
    """Reader of an option's text; returns a text that it cannot read as it is."""

    read: Callable[[str], Any]


def _tags_of_text(text: str) -> Any:
    """Tags from ``team=search,stage=dev`` or a JSON object."""
    if text.lower() == "none":
        return None
    if text.startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(equals for _, equals, _ in pairs):
        return text
    return {key.strip(): value.strip() for key, _, value in pairs}


def _tags(value: Any) -> Any:
    """A mapping as a dict; pydantic rejects values of other types."""
    if isinstance(value, Mapping):
        value = dict(value)
    return value


def _check_tags(tags: dict[str, str] | None) -> dict[str, str] | None:
    reserved = [key for key in tags or () if key.startswith(RESERVED_PREFIXES) or not key.strip()]
    if reserved:
        raise ValueError(f"{', '.join(map(repr, reserved))} cannot be set")
    return tags


def _patterns(value: Any) -> Any:
    """Patterns as a tuple; pydantic rejects other values."""
    if not isinstance(value, Iterable):
        return value
    patterns = (value,) if isinstance(value, str) else tuple(value)
    errors = []
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            errors.append(f"{pattern!r} is invalid ({error})")
    if errors:
        raise ValueError("; ".join(errors))
    return patterns


def _none_for_false(value: Any) -> Any:
    return "none" if value is None or value is False else value


def _check(is_valid: Callable[[Any], bool]) -> AfterValidator:
    def validate(value: Any) -> Any:
        if not is_valid(value):
            raise ValueError(value)
        return value

    return AfterValidator(validate)


def _parsed_by(parse: Callable[[str], object]) -> AfterValidator:
    def validate(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(validate)


_TRUE_OR_FALSE = {
    **dict.fromkeys(("true", "yes", "y", "on", "1"), "true"),
    **dict.fromkeys(("false", "no", "n", "off", "0"), "false"),
}

Flag = Annotated[bool, Expected("True or False", "true or false", _TRUE_OR_FALSE)]

FlagOrNone = Annotated[
    bool | None, Expected("True, False or None", "true, false or none", _TRUE_OR_FALSE)
]

FlagOrSeed = Annotated[
    bool | Literal["seed"],
    Expected("True, False or 'seed'", "true, false or seed", {**_TRUE_OR_FALSE, "seed": "seed"}),
]

Seconds = Annotated[
    float,
    _check(lambda seconds: 0 <= seconds <= MAX_SECONDS),
    Expected(f"a number of seconds from 0 to {MAX_SECONDS:.0f}"),
]

Timeout = Annotated[
    float | None,
    _check(lambda seconds: seconds is None or 0 < seconds <= MAX_SECONDS),
    Expected("a number of seconds above 0, or None"),
]

Count = Annotated[int, _check(lambda count: count >= 1), Expected("a whole number of at least 1")]

String = Annotated[
    str | None,
    _check(lambda text: text is None or text.strip() != ""),
    Expected("a non-empty string or None", "a non-empty string"),
]

Patterns = Annotated[
    tuple[str, ...],
    BeforeValidator(_patterns),
    Expected(
        'a regular expression or several, such as ["^internal", "Url$"]',
        "regular expressions separated by spaces",
    ),
]

Metrics = Annotated[
    tuple[Any, ...],
    BeforeValidator(parse_metrics),
    Expected(
        'names of metrics, such as ["f1", "accuracy"], or evaluators',
        "names of metrics separated by spaces",
    ),
]

ExtraTags = Annotated[
    dict[str, str] | None,
    BeforeValidator(_tags),
    AfterValidator(_check_tags),
    ReadBy(_tags_of_text),
    Expected(
        'a dict of strings, such as {"team": "search"}, without keys that start with "mlflow." or '
        '"trackmllib."',
        'tags such as team=search,stage=dev or {"team": "search"}, without keys that start with '
        '"mlflow." or "trackmllib."',
    ),
]

ModelsToLog = Annotated[
    Literal["none", "best", "all"],
    BeforeValidator(_none_for_false),
    Expected("'none', 'best' or 'all'", suggestions={w: w for w in ("none", "best", "all")}),
]

ChildRuns = Annotated[
    str,
    _parsed_by(child_run_limit),
    Expected("'all' or 'best:<number>', such as 'best:20'"),
]

OnError = Annotated[
    str,
    _parsed_by(parse_on_error),
    Expected(
        "'raise', 'skip', 'retry:<number>' or 'retry:<number>,skip', such as 'retry:2,skip'",
        suggestions={w: w for w in ("raise", "skip", "retry:2", "retry:2,skip")},
    ),
]
