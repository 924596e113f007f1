"""What an option may be: as an argument, and as the text of a variable or a conf key.

Every sentence names the argument, the variable or the key, its value, and what is allowed.
"""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from trackmllib.options import children, on_error
from trackmllib.options.near import nearest, question

MOST_SECONDS = threading.TIMEOUT_MAX

_TRUE_OR_FALSE = {
    **dict.fromkeys(("true", "yes", "y", "on", "1"), "'true'"),
    **dict.fromkeys(("false", "no", "n", "off", "0"), "'false'"),
}
_WITH_UNIT = re.compile(r"\s*([0-9.]+)\s*(?:s|secs?|seconds?)\s*", re.IGNORECASE)


class BadText(ValueError):
    """A text that is no value of its option; ``value`` is what holds in its place."""

    def __init__(self, sentence: str, value: Any) -> None:
        super().__init__(sentence)
        self.value = value


class Kind(ABC):
    """The values of an option."""

    @abstractmethod
    def of_argument(self, name: str, value: Any) -> Any:
        """The value that an argument stands for; TypeError or ValueError with a sentence."""

    @abstractmethod
    def of_text(self, name: str, text: str, instead: Any) -> Any:
        """The value that a text stands for; BadText with a sentence, after which ``instead``
        holds.
        """

    def written(self, value: Any) -> str:
        """A value as it is written in a variable or a conf key."""
        return str(value)

    def _bad(self, name: str, text: str, allowed: str, meant: str | None, instead: Any) -> BadText:
        return BadText(
            f"{name} is {text!r}, but must be {allowed}{question(meant)}; "
            f"{self.written(instead)} holds instead",
            instead,
        )


class TrueOrFalse(Kind):
    """True or False; ``true`` or ``false`` in any case."""

    def of_argument(self, name: str, value: Any) -> Any:
        if not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}, but must be True or False")
        return value

    def of_text(self, name: str, text: str, instead: Any) -> Any:
        word = text.strip().lower()
        if word not in ("true", "false"):
            meant = nearest(word, _TRUE_OR_FALSE)
            raise self._bad(name, text, "true or false", meant, instead)
        return word == "true"

    def written(self, value: Any) -> str:
        return "true" if value else "false"


class Opposite(TrueOrFalse):
    """An argument that says the opposite of the variable and of the key: ``disable``."""

    def of_argument(self, name: str, value: Any) -> Any:
        return not super().of_argument(name, value)


class Seconds(Kind):
    """A number of seconds for which a thread can wait."""

    _RANGE = f"from 0 to {MOST_SECONDS:.0f} s"

    def of_argument(self, name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name} is {value!r}, but must be a number of seconds")
        if not 0 <= value <= MOST_SECONDS:
            raise ValueError(f"{name} is {value!r}, but must be {self._RANGE}")
        return float(value)

    def of_text(self, name: str, text: str, instead: Any) -> Any:
        try:
            value = float(text)
        except ValueError:
            unit = _WITH_UNIT.fullmatch(text)
            meant = None if unit is None else repr(unit.group(1))
            raise self._bad(name, text, "a number of seconds", meant, instead) from None
        if not 0 <= value <= MOST_SECONDS:
            raise self._bad(name, text, self._RANGE, None, instead)
        return value

    def written(self, value: Any) -> str:
        return f"{value:g}"


class OneOf(Kind):
    """One of some words. None and False stand for the first of them, which means nothing."""

    def __init__(self, *words: str) -> None:
        self.words = words
        *others, last = map(repr, words)
        self._allowed = f"{', '.join(others)} or {last}"

    def of_argument(self, name: str, value: Any) -> Any:
        if value is None or value is False:
            return self.words[0]
        if not isinstance(value, (str, bool)):
            raise TypeError(f"{name} is {value!r}, but must be {self._allowed}")
        if value not in self.words:
            near = question(self._meant(str(value)))
            raise ValueError(f"{name} is {value!r}, but must be {self._allowed}{near}")
        return value

    def of_text(self, name: str, text: str, instead: Any) -> Any:
        word = text.strip().lower()
        if word == "false":
            return self.words[0]
        if word not in self.words:
            raise self._bad(name, text, self._allowed, self._meant(text), instead)
        return word

    def _meant(self, word: str) -> str | None:
        return nearest(word, {known: repr(known) for known in self.words})


class Children(Kind):
    """``all``, or ``best:<number>``: which candidates get runs of their own."""

    _ALLOWED = "'all' or 'best:<number>', such as 'best:20'"

    def of_argument(self, name: str, value: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError(f"{name} is {value!r}, but must be {self._ALLOWED}")
        if not children.is_good(value):
            raise ValueError(f"{name} is {value!r}, but must be {self._ALLOWED}")
        return value

    def of_text(self, name: str, text: str, instead: Any) -> Any:
        word = text.strip().lower()
        if not children.is_good(word):
            raise self._bad(name, text, self._ALLOWED, None, instead)
        return word


class OnError(Kind):
    """What becomes of a candidate that fails."""

    _ALLOWED = "'raise', 'skip', 'retry:<number>' or 'retry:<number>,skip', such as 'retry:2,skip'"
    _NEAR = ("raise", "skip", "retry:2", "retry:2,skip")

    def of_argument(self, name: str, value: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError(f"{name} is {value!r}, but must be {self._ALLOWED}")
        try:
            on_error.read(value)
        except ValueError:
            near = question(self._meant(value))
            raise ValueError(f"{name} is {value!r}{near}, but must be {self._ALLOWED}") from None
        return value

    def of_text(self, name: str, text: str, instead: Any) -> Any:
        try:
            on_error.read(text)
        except ValueError:
            raise self._bad(name, text, self._ALLOWED, self._meant(text), instead) from None
        return text.strip()

    def _meant(self, word: str) -> str | None:
        return nearest(word, {known: repr(known) for known in self._NEAR})


class MoreSeconds(Kind):
    """A number of seconds above zero, or None for as long as it takes."""

    _ALLOWED = "a number of seconds above 0, or None"

    def of_argument(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name} is {value!r}, but must be {self._ALLOWED}")
        if not 0 < value <= MOST_SECONDS:
            raise ValueError(f"{name} is {value!r}, but must be {self._ALLOWED}")
        return float(value)

    def of_text(self, name: str, text: str, instead: Any) -> Any:
        if text.strip().lower() == "none":
            return None
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= MOST_SECONDS:
            unit = _WITH_UNIT.fullmatch(text)
            meant = None if unit is None else repr(unit.group(1))
            raise self._bad(name, text, self._ALLOWED, meant, instead)
        return seconds

    def written(self, value: Any) -> str:
        return "none" if value is None else f"{value:g}"


class TrueFalseOr(TrueOrFalse):
    """True, False or a word, which means something more than True."""

    def __init__(self, word: str) -> None:
        self._word = word

    def of_argument(self, name: str, value: Any) -> Any:
        if isinstance(value, (bool, str)) and value in (True, False, self._word):
            return value
        error = ValueError if isinstance(value, str) else TypeError
        near = question(nearest(str(value), {self._word: repr(self._word)}))
        raise error(f"{name} is {value!r}, but must be True, False or {self._word!r}{near}")

    def of_text(self, name: str, text: str, instead: Any) -> Any:
        word = text.strip().lower()
        if word in ("true", "false"):
            return word == "true"
        if word == self._word:
            return word
        meant = nearest(word, {**_TRUE_OR_FALSE, self._word: repr(self._word)})
        raise self._bad(name, text, f"true, false or {self._word}", meant, instead)

    def written(self, value: Any) -> str:
        return value if isinstance(value, str) else super().written(value)


class Count(Kind):
    """A whole number from 1 on."""

    _ALLOWED = "a whole number from 1 on"

    def of_argument(self, name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} is {value!r}, but must be {self._ALLOWED}")
        if value < 1:
            raise ValueError(f"{name} is {value!r}, but must be {self._ALLOWED}")
        return value

    def of_text(self, name: str, text: str, instead: Any) -> Any:
        word = text.strip()
        if not (word.isascii() and word.isdigit() and int(word) >= 1):
            raise self._bad(name, text, self._ALLOWED, None, instead)
        return int(word)


class Text(Kind):
    """A text that is not empty, or None."""

    def of_argument(self, name: str, value: Any) -> Any:
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} is {value!r}, but must be a text or None")
        if value is not None and not value.strip():
            raise ValueError(f"{name} is {value!r}, but must be a text that is not empty, or None")
        return value

    def of_text(self, name: str, text: str, instead: Any) -> Any:
        if not text.strip():
            raise self._bad(name, text, "a text that is not empty", None, instead)
        return text.strip()

    def written(self, value: Any) -> str:
        return "none" if value is None else repr(value)


class Patterns(Kind):
    """Regular expressions; in a text with white space between them, which lets them hold commas."""

    def of_argument(self, name: str, value: Any) -> Any:
        if not isinstance(value, Iterable):
            raise TypeError(f"{name} is {value!r}, but must be a regular expression, or several")
        patterns = (value,) if isinstance(value, str) else tuple(value)
        for pattern in patterns:
            try:
                re.compile(pattern)
            except (re.error, TypeError) as error:
                raise ValueError(
                    f"{name} holds {pattern!r}, which is no regular expression ({error}); it takes "
                    f'patterns for the names of params, as in {name}=["^internal", "Url$"]'
                ) from error
        return patterns

    def of_text(self, name: str, text: str, instead: Any) -> Any:
        good, bad = [], []
        for pattern in text.split():
            try:
                re.compile(pattern)
                good.append(pattern)
            except re.error as error:
                bad.append(f"{pattern!r} ({error})")
        if bad:
            # What hides secrets goes on hiding as much as it can.
            others = (*instead, *good)
            raise BadText(
                f"{name} is {text!r}, but must be regular expressions with spaces between them, "
                f"and these are none: {', '.join(bad)}; {self.written(others)} holds instead",
                others,
            )
        return tuple(good)

    def written(self, value: Any) -> str:
        return repr(" ".join(value)) if value else "none"
