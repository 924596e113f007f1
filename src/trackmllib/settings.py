"""Arguments, Spark conf and environment, read into one frozen Settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from trackmllib.options.children import ALL
from trackmllib.options.given import NotGiven
from trackmllib.options.kinds import BadText
from trackmllib.options.listed import OPTIONS, STRICT, Option
from trackmllib.options.names import unknown_keys, unknown_variables
from trackmllib.options.on_error import RAISE
from trackmllib.redaction import Redaction


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How searches are recorded: a value for each option, whose meaning ``OPTIONS`` says.

    ``strict`` raises our errors instead of warning of them (for tests). ``given`` names the
    arguments that were given: they hold against what a Spark conf says.
    """

    enabled: bool = True
    silent: bool = False
    flush_timeout: float = 30.0
    wait: bool = True
    redact: tuple[str, ...] = ()
    log_models: str = "none"
    registered_model_name: str | None = None
    log_input_examples: bool = False
    log_datasets: bool = False
    progress: bool = True
    report: bool = True
    history_server: str | None = None
    children: str = ALL
    record: bool = True
    reuse_stages: bool = False
    parallel_folds: bool = False
    max_cached_folds: int = 2
    resume: bool | str = False
    code_version: str | None = None
    data_version: str | None = None
    on_error: str = RAISE
    candidate_timeout: float | None = None
    strict: bool = False
    given: frozenset[str] = frozenset()

    @cached_property
    def redaction(self) -> Redaction:
        """Which params are recorded as ``***``."""
        return Redaction(self.redact)

    @classmethod
    def read(
        cls,
        *,
        environ: Mapping[str, str],
        warn: Callable[[str], None] = lambda sentence: None,
        **arguments: Any,
    ) -> Settings:
        """Settings from the arguments of ``autolog()`` over the environment over the defaults.

        TypeError or ValueError, with a sentence that says what is allowed, for a bad argument;
        ``warn`` is handed a sentence for a bad variable, and for one that is not known.
        """
        given = {name: it for name, it in arguments.items() if not isinstance(it, NotGiven)}
        values = {
            option.name: option.kind.of_argument(option.argument, given[option.argument])
            if option.argument in given
            else option.value
            for option in OPTIONS
        }
        for option in OPTIONS:
            text = environ.get(option.variable, "")
            # An empty variable is one that is not set.
            if text.strip():
                value = _read(option, option.variable, text, values[option.name], warn)
                if option.argument not in given:
                    values[option.name] = value
        for sentence in unknown_variables(environ):
            warn(sentence)
        return cls(strict=environ.get(STRICT, "") == "1", given=frozenset(given), **values)

    def with_conf(self, conf: Mapping[str, str], warn: Callable[[str], None]) -> Settings:
        """These settings with what the conf of a Spark session says, except for given arguments.

        ``warn`` is handed a sentence for a bad value, and for a key that is not known.
        """
        values = {}
        for option in OPTIONS:
            instead = getattr(self, option.name)
            read = [
                _read(option, key, conf[key], instead, warn) for key in option.keys if key in conf
            ]
            if read and option.argument not in self.given:
                # Where there are two keys, one false is enough.
                values[option.name] = min(read)
        for sentence in unknown_keys(conf):
            warn(sentence)
        return replace(self, **values)


def _read(option: Option, name: str, text: str, instead: Any, warn: Callable[[str], None]) -> Any:
    try:
        return option.kind.of_text(name, text, instead)
    except BadText as bad:
        warn(f"{bad}.")
        return bad.value
