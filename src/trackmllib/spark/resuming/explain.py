"""Whether the scores of a search can be taken up by a later one, in words; nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trackmllib.guard import attempt
from trackmllib.spark.resuming.keys import keys_for, unset_seeds
from trackmllib.spark.resuming.unsound import Unsound


def resumable(tuner: Any, estimator: Any, maps: Sequence[Any]) -> str:
    """A sentence: that all scores can be taken up, or why not, or only in this process."""
    if attempt(lambda: bool(tuner.getCollectSubModels()), False):
        return "nothing can be taken up, because collectSubModels wants the model of each cell."
    try:
        keys_for(estimator, tuner.getEvaluator(), maps, ())
    except Unsound as unsound:
        return f"nothing can be taken up, because of {unsound.what or 'its parts'}: {unsound.why}."
    except Exception as error:  # noqa: BLE001 - code of the user's classes runs in here
        return f"nothing can be taken up, because its parts cannot be read ({error})."
    unset = unset_seeds(tuner, estimator, maps)
    if unset:
        names = " and ".join(sorted({seed.owner for seed in unset.values()}))
        return (
            f'scores can be taken up, in another process only with resume="seed": no seed is set '
            f"of {names}."
        )
    return "scores can be taken up."
