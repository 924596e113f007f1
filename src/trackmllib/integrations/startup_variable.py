"""The environment variable ``TRACKMLLIB_AUTOLOG``."""

from __future__ import annotations

VARIABLE = "TRACKMLLIB_AUTOLOG"
_ON = ("1", "true", "yes", "on")
_OFF = ("", "0", "false", "no", "off")


class BadVariable(ValueError):
    """``TRACKMLLIB_AUTOLOG`` is neither on nor off."""


def is_on(value: str) -> bool:
    """Whether a value of ``TRACKMLLIB_AUTOLOG`` starts recording.

    :raises BadVariable: The value is neither on nor off; the message lists the allowed values.
    """
    word = value.strip().lower()
    if word in _ON:
        return True
    if word in _OFF:
        return False
    raise BadVariable(
        f"{VARIABLE} is {value!r}, but must be {', '.join(_ON)} to record searches, or "
        f"{', '.join(_OFF[1:])} or empty not to; searches are not recorded."
    )


def is_off(value: str) -> bool:
    """Whether a value of ``TRACKMLLIB_AUTOLOG`` is off and not empty."""
    return value.strip().lower() in _OFF[1:]
