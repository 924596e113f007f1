"""Parsing of options from arguments and texts, with error messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from trackmllib.config.names import Option
from trackmllib.config.options import Options
from trackmllib.config.suggestions import nearest, question

_WITH_UNIT = re.compile(r"\s*([0-9.]+)\s*(?:s|secs?|seconds?)\s*", re.IGNORECASE)
_WORDS = {"true": True, "false": False, "none": None}


class BadText(ValueError):
    """A text that an option does not accept; ``value`` is used instead."""

    def __init__(self, message: str, value: Any) -> None:
        super().__init__(message)
        self.value = value


def from_argument(option: Option, argument: Any) -> Any:
    """Value of an option for an argument of ``autolog()``.

    :raises TypeError, ValueError: The argument is invalid.
    """
    try:
        value = _validated(option, argument)
    except ValidationError as error:
        message = _message(option, option.argument, argument, error, is_text=False)
        raise (TypeError if _is_type_error(error) else ValueError)(message) from None
    return not value if option.is_negated else value


def from_text(option: Option, name: str, text: str, current: Any) -> Any:
    """Value of an option for the text of a variable or conf key.

    :param name: The variable or key, for the message.
    :raises BadText: The text is invalid. The option keeps its ``current`` value, and gets the valid
        items of a list.
    """
    try:
        return _parsed(option, text)
    except ValidationError as error:
        if option.is_list:
            valid = (item for item in text.split() if _accepts(option, item))
            current = tuple(dict.fromkeys((*current, *valid)))
        message = _message(option, name, text, error, is_text=True)
        raise BadText(f"{message}; using {as_text(current)} instead", current) from None


def as_text(value: Any) -> str:
    """Value as users write it in a variable or a conf key."""
    match value:
        case None | ():
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case dict():
            return json.dumps(value)
        case tuple():
            return repr(" ".join(map(str, value)))
    return str(value)


def _validated(option: Option, value: Any) -> Any:
    return getattr(Options.model_validate({option.name: value}), option.name)


def _parsed(option: Option, text: str) -> Any:
    """Value of the first reading of a text that the option accepts."""
    *readings, last = _readings(option, text)
    for reading in readings:
        with suppress(ValidationError):
            return _validated(option, reading)
    return _validated(option, last)


def _readings(option: Option, text: str) -> Iterator[Any]:
    """Possible values of a text, most literal first; validation is strict."""
    if option.is_list:
        yield text.split()
        return
    text = text.strip()
    if option.read_text is not None:
        yield option.read_text(text)
        return
    yield text
    yield text.lower()
    yield _WORDS.get(text.lower(), text)
    for number in (int, float):
        with suppress(ValueError):
            yield number(text)


def _accepts(option: Option, value: Any) -> bool:
    try:
        _validated(option, value)
    except ValidationError:
        return False
    return True


def _is_type_error(error: ValidationError) -> bool:
    """Whether a value has the wrong type."""
    # Options with literals accept strings and bools. An int may be too large for a float.
    return all(
        (each["type"].endswith("_type") and not _is_large_int(each))
        or (each["type"] == "literal_error" and not isinstance(each["input"], (str, bool)))
        for each in error.errors()
    )


def _is_large_int(error: Mapping[str, Any]) -> bool:
    return error["type"] == "float_type" and type(error["input"]) is int


def _message(
    option: Option, name: str, value: Any, error: ValidationError, *, is_text: bool
) -> str:
    expected = option.expected.as_argument
    if is_text:
        expected = option.expected.as_text or expected
    meant = _suggestion(option, value, _parsed if is_text else _validated)
    reason = ""
    if (option.is_list or option.read_text is not None) and not _is_type_error(error):
        # The validator names the invalid items, and why.
        reason = f"; {error.errors()[0]['ctx']['error']}"
    return f"{name} is {value!r}, but must be {expected}{question(meant)}{reason}"


def _suggestion(option: Option, value: Any, read: Callable[[Option, str], Any]) -> str | None:
    """Value that the user may have meant, if ``read`` accepts it."""
    if not isinstance(value, str):
        return None
    with_unit = _WITH_UNIT.fullmatch(value)
    meant = with_unit[1] if with_unit else nearest(value, option.expected.suggestions)
    if meant is None:
        return None
    try:
        read(option, meant)
    except ValidationError:
        return None
    return repr(meant)
