"""Names of the options: arguments, variables and Spark conf keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_origin

from pydantic.fields import FieldInfo

from trackmllib.config.option_types import Expected, ExtraKey, NegatedBy, ReadBy
from trackmllib.config.options import Options

VARIABLE_PREFIX = "TRACKMLLIB_"
KEY_PREFIX = "spark.trackmllib."
STRICT = "TRACKMLLIB_STRICT"
# Variables that other modules read; none is an option.
# TRACKMLLIB_PACKAGE is for the scripts in deploy/.
OTHER_VARIABLES = (
    *(STRICT, "TRACKMLLIB_AUTOLOG", "TRACKMLLIB_HOME"),
    *("TRACKMLLIB_PACKAGE", "TRACKMLLIB_ROUNDS"),
)

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """A field of ``Options``, with its names."""

    name: str
    field: FieldInfo

    @property
    def is_negated(self) -> bool:
        """Whether the argument is the opposite of the option (``disable``)."""
        return bool(self._metadata(NegatedBy))

    @property
    def argument(self) -> str:
        """The argument of ``autolog()``."""
        return next((each.argument for each in self._metadata(NegatedBy)), self.name)

    @property
    def variable(self) -> str:
        """The environment variable: ``TRACKMLLIB_FLUSH_TIMEOUT``."""
        return VARIABLE_PREFIX + self.name.upper()

    @property
    def keys(self) -> tuple[str, ...]:
        """The Spark conf keys: ``spark.trackmllib.flushTimeout``."""
        first, *others = self.name.split("_")
        key = KEY_PREFIX + first + "".join(map(str.capitalize, others))
        return (key, *(each.key for each in self._metadata(ExtraKey)))

    @property
    def default(self) -> Any:
        return not self.field.default if self.is_negated else self.field.default

    @property
    def help(self) -> str:
        return self.field.description or ""

    @property
    def expected(self) -> Expected:
        return self._metadata(Expected)[0]

    @property
    def read_text(self) -> Callable[[str], Any] | None:
        """Reader of texts; None if they are read as strings, bools and numbers."""
        return next((each.read for each in self._metadata(ReadBy)), None)

    @property
    def is_list(self) -> bool:
        """Whether the option takes several values, separated by spaces in a text."""
        return get_origin(self.field.annotation) is tuple

    def _metadata(self, kind: type[T]) -> list[T]:
        return [each for each in self.field.metadata if isinstance(each, kind)]


OPTIONS = tuple(Option(name, field) for name, field in Options.model_fields.items())
