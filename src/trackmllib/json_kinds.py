"""Validation of JSON that may be damaged or forged.

A kind takes a value that ``json`` has parsed, and returns it with the required type. It raises
Damaged for any other value: the message says where in the file, and which values are valid.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

T = TypeVar("T")
Kind = Callable[[Any], T]

# The end of the year 9999, the last one of datetime.
LATEST_MS = 253_402_300_799_999
# The deepest nesting of the value of a param: deeper than any real one, and far below Python's
# recursion limit, which the code that shows the value needs.
DEEPEST = 100
# The longest part of a key and of a value in a message.
LONGEST_KEY = 60
LONGEST_VALUE = 120
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Damaged(ValueError):
    """An invalid value. The kinds around it prepend their part of its place."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self._complaint = complaint
        self._place = ""

    @classmethod
    def of(cls, value: Any, wanted: str) -> Damaged:
        shown = reprlib.repr(value)
        if len(shown) > LONGEST_VALUE:
            shown = f"{shown[: LONGEST_VALUE - 1]}…"
        return cls(f"is {shown}, but must be {wanted}")

    def inside(self, part: str) -> Damaged:
        self._place = part + self._place
        return self

    def __str__(self) -> str:
        return f"{self._place.removeprefix('.') or 'it'} {self._complaint}"


def parsed(text: str) -> Any:
    """The value of a JSON text."""
    try:
        return json.loads(text)
    except RecursionError:
        raise Damaged("is nested too deeply") from None
    except ValueError as error:
        raise Damaged(f"is not JSON: {error}") from error


def member(data: Any, key: str, kind: Kind[T]) -> T:
    """A required member of an object."""
    if not isinstance(data, dict):
        raise Damaged.of(data, "an object")
    if key not in data:
        raise Damaged("is missing").inside(f".{key[:LONGEST_KEY]}")
    try:
        return kind(data[key])
    except Damaged as damage:
        raise damage.inside(f".{key[:LONGEST_KEY]}") from None


def member_or(data: Any, key: str, kind: Kind[T], default: T) -> T:
    """An optional member of an object; the default if it is missing."""
    return member(data, key, kind) if not isinstance(data, dict) or key in data else default


def list_of(kind: Kind[T]) -> Kind[list[T]]:
    def read(value: Any) -> list[T]:
        if not isinstance(value, list):
            raise Damaged.of(value, "a list")
        read_ones = []
        for number, each in enumerate(value):
            try:
                read_ones.append(kind(each))
            except Damaged as damage:
                raise damage.inside(f"[{number}]") from None
        return read_ones

    return read


def mapping_of(kind: Kind[T]) -> Kind[dict[str, T]]:
    def read(value: Any) -> dict[str, T]:
        if not isinstance(value, dict):
            raise Damaged.of(value, "an object")
        return {key: member(value, key, kind) for key in value}

    return read


def or_null(kind: Kind[T]) -> Kind[T | None]:
    return lambda value: None if value is None else kind(value)


def one_of(*words: T) -> Kind[T]:
    def read(value: Any) -> T:
        for word in words:
            if type(value) is type(word) and value == word:
                return word
        raise Damaged.of(value, f"one of {', '.join(map(repr, words))}")

    return read


def whole(least: int, most: int) -> Kind[int]:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise Damaged.of(value, f"a whole number from {least:,} to {most:,}")
        return value

    return read


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Damaged.of(value, "a text")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Damaged.of(value, "true or false")
    return value


def number(value: Any) -> float:
    """A double; ``"nan"``, ``"inf"`` and ``"-inf"`` are the ones that are not finite."""
    if type(value) is float:
        return value
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    try:
        if type(value) is int:
            return float(value)
    except OverflowError:
        pass
    raise Damaged.of(value, "a number")


def seconds(value: Any) -> float:
    """A duration."""
    if type(value) not in (int, float) or not 0 <= value <= LATEST_MS / 1000:
        raise Damaged.of(value, "a number of seconds")
    return float(value)


def time_ms(value: Any) -> int:
    """A time, in milliseconds since the epoch."""
    if type(value) is not int or not 0 <= value <= LATEST_MS:
        raise Damaged.of(value, "a time in milliseconds since the epoch")
    return value


def iso_time_ms(value: Any) -> int:
    """A time of ISO 8601, as milliseconds since the epoch."""
    try:
        return time_ms(round(datetime.fromisoformat(value).timestamp() * 1000))
    except (ValueError, TypeError, OverflowError, OSError):
        raise Damaged.of(value, "a time of ISO 8601") from None


def anything(value: Any) -> Any:
    """Any value that is nested at most DEEPEST levels deep."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise Damaged("is nested too deeply")
        level = [
            inner
            for each in level
            if isinstance(each, (list, dict))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return value
