"""JSON that anybody may have damaged or forged, read as what it has to be.

A kind takes a value as ``json`` has parsed it and returns it as what it has to be. Damaged where it
is not that: its text says where in the file, and what would have to be there.
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

# The end of the year 9999, the last one that datetime knows.
LATEST_MS = 253_402_300_799_999
# As deep as the value of a param may be nested: far more than any is, and far less than Python's
# own limit, which those who show it need for themselves.
DEEPEST = 100
# Of the key of a member, in a sentence.
LONGEST_KEY = 60
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Damaged(ValueError):
    """A value is not what it has to be. Those around it put their part of its place in front."""

    def __init__(self, complaint: str) -> None:
        super().__init__(complaint)
        self._complaint = complaint
        self._place = ""

    @classmethod
    def of(cls, value: Any, wanted: str) -> Damaged:
        return cls(f"is {reprlib.repr(value)}, but must be {wanted}")

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
    """A member of an object, which must be there."""
    if not isinstance(data, dict):
        raise Damaged.of(data, "an object")
    if key not in data:
        raise Damaged("is missing").inside(f".{key[:LONGEST_KEY]}")
    try:
        return kind(data[key])
    except Damaged as damage:
        raise damage.inside(f".{key[:LONGEST_KEY]}") from None


def member_or(data: Any, key: str, kind: Kind[T], default: T) -> T:
    """A member of an object, or the default where there is none."""
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
    """A double, also one that is not finite: ``"nan"``, ``"inf"``, ``"-inf"``."""
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
    """Whatever it is, nested as deep as it may be."""
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
