"""Settings: options from arguments, Spark conf, environment and defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trackmllib.config.names import OPTIONS, STRICT, Option
from trackmllib.config.options import Options
from trackmllib.config.parsing import BadText, from_argument, from_text
from trackmllib.config.sentinel import NOT_GIVEN, NotGiven
from trackmllib.config.unknown_names import unknown_keys, unknown_variables
from trackmllib.support.redaction import Redaction

# Options that ``accelerate`` turns on.
ACCELERATE_OPTIONS = ("reuse_stages", "nested_fits", "parallel_folds")


class Settings(Options):
    """Value of each option, for one search or for the process.

    ``strict`` raises internal errors instead of warning about them, for tests. ``given`` names the
    options passed to ``autolog()``, which take precedence over the Spark conf. ``from_mlflow``:
    ``mlflow.autolog()`` has switched recording on; its arguments, which may be defaults, have the
    lowest precedence, and everything that MLflow logs for a search is logged, too.
    """

    strict: bool = False
    from_mlflow: bool = False
    given: frozenset[str] = frozenset()

    @property
    def redaction(self) -> Redaction:
        return Redaction(self.redact)

    def is_on(self, name: str) -> bool:
        """Whether an option that ``accelerate`` includes is on."""
        value: bool | None = getattr(self, name)
        return self.accelerate if value is None else value

    @property
    def enabled_accelerations(self) -> tuple[str, ...]:
        """Names of the options that are on, of those that ``accelerate`` includes."""
        return tuple(filter(self.is_on, ACCELERATE_OPTIONS))

    @classmethod
    def read(
        cls,
        *,
        environ: Mapping[str, str],
        warn: Callable[[str], None] = lambda message: None,
        from_mlflow: bool = False,
        **arguments: Any,
    ) -> Settings:
        """Settings from the arguments of ``autolog()`` and the environment.

        :param warn: Receives a message for each bad or unknown environment variable.
        :raises TypeError, ValueError: An argument is not valid.
        """
        values = {}
        for option in OPTIONS:
            argument = arguments.get(option.argument, NOT_GIVEN)
            if not isinstance(argument, NotGiven):
                values[option.name] = from_argument(option, argument)
        settings = cls(
            strict=environ.get(STRICT) == "1",
            given=frozenset() if from_mlflow else frozenset(values),
            from_mlflow=from_mlflow,
            **values,
        )
        # An empty variable counts as not set.
        variables = {name: text for name, text in environ.items() if text.strip()}
        settings = settings._updated(variables, lambda option: (option.variable,), warn)
        for message in unknown_variables(environ):
            warn(message)
        return settings

    def with_conf(self, conf: Mapping[str, str], warn: Callable[[str], None]) -> Settings:
        """Settings updated from a Spark conf, except for given arguments.

        :param warn: Receives a message for each bad value and each unknown key.
        """
        settings = self._updated(conf, lambda option: option.keys, warn)
        for message in unknown_keys(conf):
            warn(message)
        return settings

    def _updated(
        self,
        texts: Mapping[str, str],
        names: Callable[[Option], tuple[str, ...]],
        warn: Callable[[str], None],
    ) -> Settings:
        update = {}
        for option in OPTIONS:
            values = []
            for name in names(option):
                if name in texts:
                    current = getattr(self, option.name)
                    try:
                        values.append(from_text(option, name, texts[name], current))
                    except BadText as error:
                        warn(f"{error}.")
                        values.append(error.value)
            if values and option.name not in self.given:
                # False in one of two keys is enough.
                update[option.name] = min(values)
        return self.model_copy(update=update)
