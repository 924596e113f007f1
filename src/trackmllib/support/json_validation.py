"""Validation of JSON that may be damaged or forged.

A ``Kind`` is a function that returns a value from ``json`` if it has the required type, and raises
InvalidValue otherwise; the message says where the value is and what is valid.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from trackmllib.support.formatting import visible

T = TypeVar("T")
Kind = Callable[[Any], T]

# The end of the year 9999, the last one in datetime.
MAX_TIME_MS = 253_402_300_799_999
# Maximum nesting of a param's value: deeper than real values, and far below Python's recursion
# limit.
MAX_DEPTH = 100
# Maximum characters of a key and of a value in a message.
MAX_KEY = 60
MAX_VALUE = 120
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class InvalidValue(ValueError):
    """Invalid value; outer kinds prepend their part of its path."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self._complaint = complaint
        self._path = ""

    @classmethod
    def of(cls, value: Any, wanted: str) -> InvalidValue:
        shown = reprlib.repr(value)
        if len(shown) > MAX_VALUE:
            shown = f"{shown[: MAX_VALUE - 1]}…"
        return cls(f"is {shown}, but must be {wanted}")

    def inside(self, part: str) -> InvalidValue:
        """Prepend a part to the path."""
        self._path = part + self._path
        return self

    def inside_member(self, key: str) -> InvalidValue:
        """Prepend a key to the path, on one line and without control characters."""
        return self.inside(f".{visible(key, MAX_KEY)}")

    def __str__(self) -> str:
        return f"{self._path.removeprefix('.') or 'it'} {self._complaint}"


def parse(text: str) -> Any:
    """Parse a JSON text."""
    try:
        return json.loads(text)
    except RecursionError:
        raise InvalidValue("is nested too deeply") from None
    except ValueError as error:
        raise InvalidValue(f"is not JSON: {error}") from error


def member(data: Any, key: str, kind: Kind[T]) -> T:
    """Read a required member of an object."""
    if not isinstance(data, dict):
        raise InvalidValue.of(data, "an object")
    if key not in data:
        raise InvalidValue("is missing").inside_member(key)
    try:
        return kind(data[key])
    except InvalidValue as damage:
        raise damage.inside_member(key) from None


def optional_member(data: Any, key: str, kind: Kind[T], default: T) -> T:
    """Read an optional member of an object, or return the default."""
    return member(data, key, kind) if not isinstance(data, dict) or key in data else default


def list_of(kind: Kind[T]) -> Kind[list[T]]:
    def read(value: Any) -> list[T]:
        if not isinstance(value, list):
            raise InvalidValue.of(value, "a list")
        items = []
        for number, each in enumerate(value):
            try:
                items.append(kind(each))
            except InvalidValue as damage:
                raise damage.inside(f"[{number}]") from None
        return items

    return read


def mapping_of(kind: Kind[T]) -> Kind[dict[str, T]]:
    def read(value: Any) -> dict[str, T]:
        if not isinstance(value, dict):
            raise InvalidValue.of(value, "an object")
        return {key: member(value, key, kind) for key in value}

    return read


def or_null(kind: Kind[T]) -> Kind[T | None]:
    return lambda value: None if value is None else kind(value)


def one_of(*words: T) -> Kind[T]:
    def read(value: Any) -> T:
        for word in words:
            if type(value) is type(word) and value == word:
                return word
        raise InvalidValue.of(value, f"one of {', '.join(map(repr, words))}")

    return read


def integer(least: int, most: int) -> Kind[int]:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise InvalidValue.of(value, f"a whole number from {least:,} to {most:,}")
        return value

    return read


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidValue.of(value, "a text")
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue.of(value, "true or false")
    return value


def number(value: Any) -> float:
    """Read a double, or ``"nan"``, ``"inf"`` or ``"-inf"``."""
    if type(value) is float:
        return value
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    try:
        if type(value) is int:
            return float(value)
    except OverflowError:
        pass
    raise InvalidValue.of(value, "a number")


def seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MAX_TIME_MS / 1000:
        raise InvalidValue.of(value, "a number of seconds")
    return float(value)


def time_ms(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_TIME_MS:
        raise InvalidValue.of(value, "a time in milliseconds since the epoch")
    return value


def iso_time_ms(value: Any) -> int:
    """Convert an ISO 8601 time to milliseconds since the epoch."""
    try:
        return time_ms(round(datetime.fromisoformat(value).timestamp() * 1000))
    except (ValueError, TypeError, OverflowError, OSError):
        raise InvalidValue.of(value, "an ISO 8601 time") from None


def anything(value: Any) -> Any:
    """Accept any value that is nested at most MAX_DEPTH levels deep."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InvalidValue("is nested too deeply")
        level = [
            inner
            for each in level
            if isinstance(each, (list, dict))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return value
