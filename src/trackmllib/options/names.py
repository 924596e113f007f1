"""Finds variables and conf keys that look like ours and are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trackmllib.options.listed import KEYS, OPTIONS, OTHER_VARIABLES, VARIABLES
from trackmllib.options.near import nearest, question

KNOWN_VARIABLES = (*(option.variable for option in OPTIONS), *OTHER_VARIABLES)
KNOWN_KEYS = tuple(key for option in OPTIONS for key in option.keys)


def is_key(name: str) -> bool:
    """Whether a key of the Spark conf is ours, or is meant to be."""
    return name in KNOWN_KEYS or name.lower().startswith(KEYS)


def unknown_variables(names: Iterable[str]) -> Iterator[str]:
    """A sentence for each environment variable with our prefix that says nothing to us."""
    # Somebody who knows the argument may look for a variable of its name.
    words = {option.argument: option.variable for option in OPTIONS}
    words |= {name.removeprefix(VARIABLES): name for name in KNOWN_VARIABLES}
    for name in sorted(names):
        if name.startswith(VARIABLES) and name not in KNOWN_VARIABLES:
            meant = nearest(name.removeprefix(VARIABLES), words)
            yield _unknown(f"The environment variable {name}", meant, words.values())


def unknown_keys(names: Iterable[str]) -> Iterator[str]:
    """A sentence for each key of the Spark conf with our prefix that says nothing to us."""
    words = {name: option.keys[0] for option in OPTIONS for name in (option.argument, option.name)}
    for name in sorted(names):
        if is_key(name) and name not in KNOWN_KEYS:
            meant = nearest(name[len(KEYS) :], words)
            yield _unknown(f"The Spark conf key {name}", meant, words.values())


def _unknown(what: str, meant: str | None, known: Iterable[str]) -> str:
    there_are = "" if meant else f"; there are {', '.join(dict.fromkeys(known))}"
    return f"{what} is not known to trackmllib{question(meant)}, and has no effect{there_are}."
