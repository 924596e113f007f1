"""Environment variables and conf keys with our prefix but no option."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trackmllib.config.names import KEY_PREFIX, OPTIONS, OTHER_VARIABLES, VARIABLE_PREFIX
from trackmllib.config.suggestions import nearest, question

VARIABLES = (*(option.variable for option in OPTIONS), *OTHER_VARIABLES)
KEYS = tuple(key for option in OPTIONS for key in option.keys)


def is_key(name: str) -> bool:
    """Whether a Spark conf key belongs to an option, or has our prefix."""
    return name in KEYS or name.lower().startswith(KEY_PREFIX)


def unknown_variables(names: Iterable[str]) -> Iterator[str]:
    """Yield a message for each variable with our prefix but no option."""
    # Users may try the name of the argument, as in TRACKMLLIB_DISABLE.
    words = {option.argument: option.variable for option in OPTIONS}
    words |= {name.removeprefix(VARIABLE_PREFIX): name for name in VARIABLES}
    for name in sorted(names):
        if name.startswith(VARIABLE_PREFIX) and name not in VARIABLES:
            meant = nearest(name.removeprefix(VARIABLE_PREFIX), words)
            yield _message(f"environment variable {name}", meant, words.values())


def unknown_keys(names: Iterable[str]) -> Iterator[str]:
    """Yield a message for each Spark conf key with our prefix but no option."""
    words = {name: option.keys[0] for option in OPTIONS for name in (option.argument, option.name)}
    for name in sorted(names):
        if is_key(name) and name not in KEYS:
            meant = nearest(name[len(KEY_PREFIX) :], words)
            yield _message(f"Spark conf key {name}", meant, words.values())


def _message(what: str, meant: str | None, names: Iterable[str]) -> str:
    options = "" if meant else f"; the options are {', '.join(dict.fromkeys(names))}"
    return f"Unknown {what} has no effect{question(meant)}{options}."
