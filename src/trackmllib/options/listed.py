"""The list of options: everything else about them is made from it.

``docs/configuration.md`` holds it as a table (``make docs``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trackmllib.options.children import ALL
from trackmllib.options.kinds import (
    Children,
    Count,
    Kind,
    MoreSeconds,
    OneOf,
    OnError,
    Opposite,
    Patterns,
    Seconds,
    Text,
    TrueFalseOr,
    TrueOrFalse,
)
from trackmllib.options.on_error import RAISE

VARIABLES = "TRACKMLLIB_"
KEYS = "spark.trackmllib."
STRICT = "TRACKMLLIB_STRICT"
# Variables that are read elsewhere, and are no options.
OTHER_VARIABLES = (STRICT, "TRACKMLLIB_AUTOLOG", "TRACKMLLIB_HOME", "TRACKMLLIB_ROUNDS")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option.

    ``argument`` is its name in ``autolog()``, ``default`` its default there. ``setting`` is its
    name everywhere else, if that is another: in ``Settings``, the variable and the key.
    ``more_keys`` are conf keys that count as well.
    """

    argument: str
    kind: Kind
    default: Any
    meaning: str
    setting: str = ""
    more_keys: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.setting or self.argument

    @property
    def variable(self) -> str:
        """The environment variable: ``TRACKMLLIB_FLUSH_TIMEOUT``."""
        return VARIABLES + self.name.upper()

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the Spark conf, in Spark's spelling: ``spark.trackmllib.flushTimeout``."""
        first, *others = self.name.split("_")
        return (KEYS + first + "".join(map(str.capitalize, others)), *self.more_keys)

    @property
    def value(self) -> Any:
        """The default, as ``Settings`` has it."""
        return self.kind.of_argument(self.argument, self.default)


OPTIONS = (
    Option(
        argument="disable",
        setting="enabled",
        kind=Opposite(),
        default=False,
        meaning="record nothing: `disable=True`, or `false` in the variable or in one of the keys",
        more_keys=("spark.databricks.mlflow.trackMLlib.enabled",),
    ),
    Option(
        argument="silent",
        kind=TrueOrFalse(),
        default=False,
        meaning="write no warnings when something could not be recorded",
    ),
    Option(
        argument="flush_timeout",
        kind=Seconds(),
        default=30.0,
        meaning="for how many seconds `fit()` waits at its end until the server has its record, "
        "and the process at its end",
    ),
    Option(
        argument="wait",
        kind=TrueOrFalse(),
        default=True,
        meaning="whether `fit()` waits at its end at all",
    ),
    Option(
        argument="redact",
        kind=Patterns(),
        default=(),
        meaning="regular expressions; params whose names match one anywhere are recorded as "
        "`***`, as are those that look secret",
    ),
    Option(
        argument="log_models",
        kind=OneOf("none", "best", "all"),
        default="none",
        meaning="which models are logged: `none`, the `best` one of a search, or `all`, of each "
        "candidate",
    ),
    Option(
        argument="registered_model_name",
        kind=Text(),
        default=None,
        meaning="the name under which the best model is put into the model registry",
    ),
    Option(
        argument="log_input_examples",
        kind=TrueOrFalse(),
        default=False,
        meaning="log some rows of the data with each model",
    ),
    Option(
        argument="log_datasets",
        kind=TrueOrFalse(),
        default=False,
        meaning="log on the main run which data the search was fitted on",
    ),
    Option(
        argument="progress",
        kind=TrueOrFalse(),
        default=True,
        meaning="show how far a search is, on standard error, from its third second on",
    ),
    Option(
        argument="report",
        kind=TrueOrFalse(),
        default=True,
        meaning="make the report of a search when it ends, and put it among the files of its run",
    ),
    Option(
        argument="history_server",
        kind=Text(),
        default=None,
        meaning="the address of Spark's history server, for a link on the main run; on YARN it is "
        "known without",
    ),
    Option(
        argument="children",
        kind=Children(),
        default=ALL,
        meaning="which candidates get child runs: `all`, or `best:20` for the 20 best, when the "
        "search ends; `results.csv` has all of them",
    ),
    Option(
        argument="record",
        kind=TrueOrFalse(),
        default=True,
        meaning="`False`: nothing goes to MLflow, and what else was asked for holds",
    ),
    Option(
        argument="reuse_stages",
        kind=TrueOrFalse(),
        default=False,
        meaning="fit the stages of a `Pipeline` that several candidates have in common once a "
        "fold, and keep their output until the last of these is done",
    ),
    Option(
        argument="parallel_folds",
        kind=TrueOrFalse(),
        default=False,
        meaning="compute the cells of all folds in one pool of `parallelism` threads, instead of "
        "one fold after another",
    ),
    Option(
        argument="max_cached_folds",
        kind=Count(),
        default=2,
        meaning="of how many folds `parallel_folds` keeps the data at a time",
    ),
    Option(
        argument="resume",
        kind=TrueFalseOr("seed"),
        default=False,
        meaning="reuse the scores of an earlier search that would be the same; `seed`: also use "
        "the seeds of that search",
    ),
    Option(
        argument="code_version",
        kind=Text(),
        default=None,
        meaning="version of your own code, which `resume` compares instead of the code",
    ),
    Option(
        argument="data_version",
        kind=Text(),
        default=None,
        meaning="what `resume` knows the data by, instead of reading its rows",
    ),
    Option(
        argument="on_error",
        kind=OnError(),
        default=RAISE,
        meaning="what becomes of a candidate that fails: `raise`, `skip`, `retry:2`, or "
        "`retry:2,skip`",
    ),
    Option(
        argument="candidate_timeout",
        kind=MoreSeconds(),
        default=None,
        meaning="after how many seconds a cell has failed; its Spark jobs are cancelled",
    ),
)
