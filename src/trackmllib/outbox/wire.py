"""Events and operations as JSON text, and back: the only form in which they lie on a disk.

A dataclass is an object with its class under ``"$"``; a float keeps every bit (also infinities and
NaN, in Python's spelling). The user's own data is a text inside of the text, so that it can never
be taken for a class.

A field that has its default is left out. So an older version, which may be the heir, reads all that
it would have written itself, and a new field needs a default, with which older files are read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from trackmllib import events, operations
from trackmllib.events import Event, Value
from trackmllib.operations import Destination, LogBatch, Metric, Operation

T = TypeVar("T")

_TAG = "$"
_CLASSES: dict[str, type] = {
    cls.__name__: cls
    for module in (events, operations)
    for cls in vars(module).values()
    if dataclasses.is_dataclass(cls) and isinstance(cls, type)
}


# The fields of each, with their defaults.
_FIELDS = {
    cls: tuple((field.name, field.default) for field in dataclasses.fields(cls))
    for cls in _CLASSES.values()
}


def to_text(item: Event | Operation | Destination) -> str:
    """The text of an event, an operation or a destination. TypeError for what is no plain data."""
    return "".join(_encode(item, 0))


def event(text: str) -> Event:
    """The event of a text. ValueError if it is none."""
    return _of_type(text, Event)


def operation(text: str) -> Operation:
    """The operation of a text. ValueError if it is none."""
    return _of_type(text, Operation)


def destination(text: str) -> Destination:
    """The destination of a text. ValueError if it is none."""
    return _of_type(text, Destination)


def _of_type(text: str, kind: type[T]) -> T:
    try:
        item = json.loads(text, object_hook=_object)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"not readable: {error}") from error
    if not isinstance(item, kind):
        raise ValueError(f"not readable: {type(item).__name__} is no {kind.__name__}")
    return item


def _tagged(item: Any) -> dict[str, Any]:
    cls = type(item)
    if _CLASSES.get(cls.__name__) is not cls:
        raise TypeError(f"{cls.__name__} is no plain data")
    fields: dict[str, Any] = {_TAG: cls.__name__}
    for name, default in _FIELDS[cls]:
        value = getattr(item, name)
        if value is default:
            continue
        if type(value) is not type(default) or value != default:
            fields[name] = value
    if cls is Value:
        fields["data"] = json.dumps(item.data)
    return fields


def _object(fields: dict[str, Any]) -> Any:
    cls = _CLASSES.get(fields.pop(_TAG, ""))
    if cls is None:
        raise ValueError("an object of no known class")
    if cls is Value:
        fields["data"] = json.loads(fields["data"])
        return Value(**fields)
    fields = {name: _tuples(value) for name, value in fields.items()}
    if cls is LogBatch:
        fields["metrics"] = tuple(Metric(*metric) for metric in fields.get("metrics", ()))
    return cls(**fields)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _new_encode() -> Callable[[Any, int], Iterable[str]]:
    """What ``json.JSONEncoder`` makes anew for each text, where Python has it in C."""
    encoder = json.JSONEncoder(default=_tagged, separators=(",", ":"))
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return lambda item, _: encoder.iterencode(item)
    made: Callable[[Any, int], Iterable[str]] = make(
        None, _tagged, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True
    )
    return made


_encode = _new_encode()
