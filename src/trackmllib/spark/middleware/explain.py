"""Explanation of the opt-ins for a tuner, without a Spark job."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import pyspark.sql.utils
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit
from pyspark.sql import SparkSession

from trackmllib.config.settings import Settings
from trackmllib.spark.introspection.conf import SessionConf
from trackmllib.spark.middleware.nested_fits.explain import (
    NestedExplanation,
    explain_nested,
    nested_lines,
)
from trackmllib.spark.middleware.score_reuse.explain import explain_resume
from trackmllib.spark.middleware.stage_sharing.explain import StageExplanation, explain_stages
from trackmllib.spark.middleware.stage_sharing.plan import is_plain_pipeline, plan_for
from trackmllib.support.formatting import count, table
from trackmllib.support.guard import attempt

_TUNERS = (CrossValidator, TrainValidationSplit)


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Result of ``trackmllib.explain()``; a table when printed.

    ``stages`` has an entry for each stage of the pipeline. ``reason`` says why no stage can be
    shared, ``note`` under which condition stages are shared; both may be empty. ``resume`` says
    whether a later search can reuse the scores. ``nested_fits`` has an entry for each group of
    nested candidates, and for each reason to fit some separately. ``enabled`` names the options
    of ``accelerate`` that are on.
    """

    tuner: str
    candidates: int
    folds: int
    stages: tuple[StageExplanation, ...] = ()
    reason: str = ""
    note: str = ""
    resume: str = ""
    nested_fits: tuple[NestedExplanation, ...] = ()
    estimator: str = ""
    enabled: tuple[str, ...] = ()

    def __str__(self) -> str:
        nested = "\n".join(nested_lines(self.nested_fits, self.estimator))
        on = ", ".join(self.enabled) or "none; autolog(accelerate=True) turns them on"
        return f"{self._stage_table()}\n\n{nested}\n\nresume: {self.resume}\n\nOptions on: {on}."

    def _stage_table(self) -> str:
        head = f"reuse_stages on a {self.tuner} of {count(self.candidates, 'candidate')}"
        if self.folds > 1:
            head += f" and {self.folds} folds"
        if self.reason:
            return f"{head}: nothing is shared, because {self.reason}."
        rows = [("", "stage", "computed per fold", "why not once")]
        rows += [
            (str(stage.position), stage.stage, _how_often(stage), stage.reason)
            for stage in self.stages
        ]
        lines = table(rows)
        computed = sum(stage.computed for stage in self.stages)
        instead = sum(stage.instead_of for stage in self.stages)
        saved = (
            f"Each fold computes {count(computed, 'stage')} instead of {instead}."
            if computed < instead
            else "Nothing is shared."
        )
        note = [self.note] if self.note else []
        return "\n".join([head, "", *lines, "", saved, *note])

    __repr__ = __str__


def explain(tuner: Any, settings: Settings | None) -> Explanation:
    """Explain what the opt-ins change for a tuner; see ``trackmllib.explain``.

    :param settings: Of ``autolog()``, without the Spark conf; None if it was not called.
    """
    if not isinstance(tuner, _TUNERS):
        raise TypeError(
            "explain() takes a CrossValidator or a TrainValidationSplit of pyspark.ml.tuning, not "
            f"a {type(tuner).__name__}"
        )
    pipeline = attempt(tuner.getEstimator, None)
    maps: list[Any] = attempt(lambda: list(tuner.getEstimatorParamMaps()), [])
    if pipeline is None or not maps:
        raise ValueError(
            "This tuner has no estimator or no estimatorParamMaps; set both before explain()"
        )
    settings = _with_conf(settings)
    code_version = None if settings is None else settings.code_version
    plan = attempt(lambda: plan_for(pipeline, maps), None) if is_plain_pipeline(pipeline) else None
    reason = note = ""
    if not any(_fits_like(tuner, known) for known in _TUNERS):
        note = (
            f"{type(tuner).__name__} overrides fit() or _fit(): stages are shared only in folds "
            "that Spark's own loop computes."
        )
    if not is_plain_pipeline(pipeline):
        reason = f"its estimator is a {type(pipeline).__name__}, not a Pipeline"
    elif plan is None:
        reason = "its stages or its grid cannot be read"
    no_groups: tuple[NestedExplanation, ...] = ()
    return Explanation(
        tuner=type(tuner).__name__,
        candidates=len(maps),
        folds=tuner.getNumFolds() if isinstance(tuner, CrossValidator) else 1,
        stages=() if plan is None else explain_stages(plan, maps),
        reason=reason,
        note=note,
        resume=explain_resume(tuner, pipeline, maps, code_version),
        nested_fits=attempt(
            lambda: explain_nested(tuner, pipeline, maps, on_connect=_is_connect()), no_groups
        ),
        estimator=type(pipeline).__name__,
        enabled=() if settings is None else settings.enabled_accelerations,
    )


def _with_conf(settings: Settings | None) -> Settings | None:
    """Settings updated from the conf of the active Spark session, if any."""
    session = attempt(SparkSession.getActiveSession, None)
    if settings is None or session is None:
        return settings
    return settings.with_conf(SessionConf().read_session(session), lambda message: None)


def _is_connect() -> bool:
    """Whether this process uses Spark Connect."""
    return bool(pyspark.sql.utils.is_remote())


def _fits_like(tuner: Any, known: Any) -> bool:
    """Whether a tuner has the ``fit`` and ``_fit`` of this tuner of pyspark."""
    return all(
        inspect.unwrap(getattr(type(tuner), name)) is inspect.unwrap(getattr(known, name))
        for name in ("fit", "_fit")
    )


def _how_often(stage: StageExplanation) -> str:
    if stage.computed == stage.instead_of:
        return _times(stage.computed)
    computed = "once" if stage.computed == 1 else str(stage.computed)
    return f"{computed} instead of {_times(stage.instead_of)}"


def _times(times: int) -> str:
    return "once" if times == 1 else f"{times} times"
