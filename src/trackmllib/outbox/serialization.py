"""Events and operations as JSON text, their only form on disk.

A dataclass is an object with its class under ``"$"``. A float keeps every bit, infinities and NaN
included, in Python's spelling. The user's own data is a text within the text, so that none of it is
mistaken for a class.

A field with its default value is left out, so an older trackmllib of the same schema version reads
every text that it could have written. A new field needs a default, with which older files are read.
A renamed class or field needs an entry in ``renames`` and a new schema version.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from trackmllib.domain import descriptions, events, operations
from trackmllib.domain.descriptions import Value
from trackmllib.domain.events import Event
from trackmllib.domain.operations import Destination, LogBatch, LogModelMetrics, Metric, Operation
from trackmllib.outbox import renames

T = TypeVar("T")

_TAG = "$"
_CLASSES: dict[str, type] = {
    cls.__name__: cls
    for module in (descriptions, events, operations)
    for cls in vars(module).values()
    if dataclasses.is_dataclass(cls) and isinstance(cls, type)
}

# The fields of each class, with their defaults.
_FIELDS = {
    cls: tuple((field.name, field.default) for field in dataclasses.fields(cls))
    for cls in _CLASSES.values()
}


def to_text(item: Event | Operation | Destination) -> str:
    """The text of an event, operation or destination; TypeError for others."""
    return "".join(_encode(item, 0))


def from_text(text: str, kind: type[T]) -> T:
    """Parse an event, operation or destination; ValueError for other texts."""
    try:
        item = json.loads(text, object_hook=_object)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"not readable: {error}") from error
    if not isinstance(item, kind):
        raise ValueError(f"not readable: {type(item).__name__} is not {kind.__name__}")
    return item


def _tagged(item: Any) -> dict[str, Any]:
    cls = type(item)
    if _CLASSES.get(cls.__name__) is not cls:
        raise TypeError(f"{cls.__name__} is not plain data")
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
    name = fields.pop(_TAG, "")
    name = renames.CLASSES.get(name, name)
    cls = _CLASSES.get(name)
    if cls is None:
        raise ValueError("an object of an unknown class")
    if (new_names := renames.FIELDS.get(name)) is not None:
        fields = {new_names.get(field, field): value for field, value in fields.items()}
    if cls is Value:
        fields["data"] = json.loads(fields["data"])
        return Value(**fields)
    fields = {name: _tuples(value) for name, value in fields.items()}
    if cls in (LogBatch, LogModelMetrics):
        fields["metrics"] = tuple(Metric(*metric) for metric in fields.get("metrics", ()))
    return cls(**fields)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _new_encode() -> Callable[[Any, int], Iterable[str]]:
    """The C encoder, if any, that ``JSONEncoder`` would create for each text."""
    encoder = json.JSONEncoder(default=_tagged, separators=(",", ":"))
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return lambda item, _: encoder.iterencode(item)
    made: Callable[[Any, int], Iterable[str]] = make(
        None, _tagged, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True
    )
    return made


_encode = _new_encode()
