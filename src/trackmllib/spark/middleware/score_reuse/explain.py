"""Explanation of ``resume`` for a tuner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trackmllib.spark.middleware.score_reuse.keys import keys_for
from trackmllib.spark.middleware.score_reuse.seeds import owner_names, unset_seeds
from trackmllib.support.guard import attempt


def explain_resume(
    tuner: Any, estimator: Any, maps: Sequence[Any], code_version: str | None = None
) -> str:
    """Say in one sentence whether scores can be reused, or why not."""
    if attempt(lambda: bool(tuner.getCollectSubModels()), False):
        return "no score can be reused, because collectSubModels requires the model of each fit."
    try:
        keys_for(tuner, estimator, tuner.getEvaluator(), maps, code_version=code_version)
    except Exception as error:  # noqa: BLE001 - this runs the user's own code
        return f"no score can be reused, because of {error}."
    unset = unset_seeds(tuner, estimator, maps)
    if unset:
        return (
            'scores can be reused, but in another process only with resume="seed", because no seed '
            f"is set on {owner_names(unset.values())}."
        )
    return "scores can be reused."
