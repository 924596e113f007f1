"""The options of ``autolog()``; every option is declared here.

A field of ``Options`` declares the name, type, default and meaning of an option. The environment
variable, Spark conf key, error messages and row in ``docs/reference/configuration.md``
(``make docs``) derive from it. The signature and docstring of ``autolog()`` repeat it for IDEs; a
test compares them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from trackmllib.config.children import ALL
from trackmllib.config.on_error import RAISE
from trackmllib.config.option_types import (
    ChildRuns,
    Count,
    ExtraKey,
    ExtraTags,
    Flag,
    FlagOrNone,
    FlagOrSeed,
    Metrics,
    ModelsToLog,
    NegatedBy,
    OnError,
    Patterns,
    Seconds,
    String,
    Timeout,
)


class Options(BaseModel):
    """A value for each option."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    enabled: Annotated[
        Flag, NegatedBy("disable"), ExtraKey("spark.databricks.mlflow.trackMLlib.enabled")
    ] = Field(
        default=True,
        description="Stop recording; `false` in the variable or in one of the keys does the same",
    )
    silent: Flag = Field(
        default=False, description="Hide all warnings of trackmllib, and the progress"
    )
    flush_timeout: Seconds = Field(
        default=30.0,
        description="Longest wait for delivery in seconds, at the end of `fit()` and of the "
        "process",
    )
    wait: Flag = Field(default=True, description="Wait for delivery at the end of `fit()`")
    redact: Patterns = Field(
        default=(),
        description="Regular expressions for names of params that are logged as `***`, in addition "
        "to those that look secret",
    )
    metrics: Metrics = Field(
        default=(),
        description="Further metrics to compute for each fit: names of metrics of the tuner's "
        "evaluator, or evaluators",
    )
    train_scores: Flag = Field(
        default=False,
        description="Compute all metrics on the training data of each fold, too",
    )
    log_models: ModelsToLog = Field(
        default="none",
        description="Models to log: `none`, the `best` one of a search, or `all`: also the model "
        "of each fit",
    )
    registered_model_name: String = Field(
        default=None,
        description="Name under which the best model is registered in the model registry",
    )
    log_input_examples: Flag = Field(
        default=False, description="Log some rows of the data with each model"
    )
    log_datasets: Flag = Field(
        default=False,
        description="Log the data of the search as a dataset of the parent run and the child runs",
    )
    rank_tags: Flag = Field(
        default=False,
        description="Tag each child run with its rank when the search ends; takes a request per "
        "child run",
    )
    primary_metric: Flag = Field(
        default=False,
        description="Make the metric of the search the primary metric of its experiment, unless "
        "the experiment has one",
    )
    extra_tags: ExtraTags = Field(
        default=None,
        description="Tags for the parent run and the child runs; as text, `team=search,stage=dev` "
        "or a JSON object",
    )
    log_post_training_metrics: FlagOrNone = Field(
        default=None,
        description="Log what `evaluator.evaluate(model.transform(holdout))` returns for the model "
        "of a search; `None`: only if MLflow's autologging does so for other models",
    )
    exclusive: Flag = Field(
        default=False, description="Log each search to a new run, even if a run is active"
    )
    progress: Flag = Field(
        default=True,
        description="Show progress on standard error, from the third second of a search on",
    )
    report: Flag = Field(
        default=True,
        description="Log a report as an artifact of the parent run when the search ends",
    )
    history_server: String = Field(
        default=None,
        description="Address of Spark's history server, for a link on the parent run; detected on "
        "YARN",
    )
    children: ChildRuns = Field(
        default=ALL,
        description="Candidates that get child runs: `all`, or `best:20` for the 20 best at the "
        "end of the search; `results.csv` lists all candidates",
    )
    record: Flag = Field(
        default=True,
        description="Log to MLflow; with `False`, progress, results and opt-ins still work",
    )
    accelerate: Flag = Field(
        default=False,
        description="Turn on `reuse_stages`, `nested_fits` and, if all stages and the evaluator "
        "are from `pyspark.ml`, `parallel_folds`; `False` for one of them keeps it off",
    )
    reuse_stages: FlagOrNone = Field(
        default=None,
        description="Fit `Pipeline` stages that several candidates share only once per fold, and "
        "cache their output until the last of these candidates is done; `None`: same as "
        "`accelerate`",
    )
    nested_fits: FlagOrNone = Field(
        default=None,
        description="Of candidates that differ only in a param such as the `maxDepth` of trees, "
        "fit only the largest, and derive the models of the others from its model; `None`: same "
        "as `accelerate`",
    )
    parallel_folds: FlagOrNone = Field(
        default=None,
        description="Compute the fits of all folds in one pool of `parallelism` threads, instead "
        "of fold by fold; `None`: same as `accelerate`",
    )
    max_cached_folds: Count = Field(
        default=2, description="Number of folds whose data `parallel_folds` caches at a time"
    )
    resume: FlagOrSeed = Field(
        default=False,
        description="Reuse the scores of earlier searches where Spark would compute the same; "
        "`seed` also reuses the seeds that you did not set",
    )
    code_version: String = Field(
        default=None,
        description="Version of your own code, which includes packages installed from a folder, a "
        "wheel or a repository; without it, `resume` reuses no scores of a search that contains "
        "your own code",
    )
    data_version: String = Field(
        default=None,
        description="Version of your data for `resume`; compared instead of a hash of the rows",
    )
    on_error: OnError = Field(
        default=RAISE,
        description="What to do with a candidate that fails: `raise`, `skip`, `retry:2`, or "
        "`retry:2,skip`",
    )
    candidate_timeout: Timeout = Field(
        default=None,
        description="Timeout in seconds per fit; a fit that exceeds it fails, and its Spark jobs "
        "are cancelled",
    )
