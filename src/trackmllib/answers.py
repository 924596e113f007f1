"""The results of searches, for the user's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trackmllib.autolog import code_version, results_of
from trackmllib.errors import UnknownSearch

if TYPE_CHECKING:
    from trackmllib.spark.sharing.explain import Explanation
    from trackmllib.view.results import Results


def results(search: Any) -> Results:
    """The results of a search of this process, without a server and without a wait.

    They are known for as long as the model or the tuner lives; nothing is written on it.

    :param search: The model that ``fit()`` has returned, or the tuner: its last search, also while
        it runs (as it is now) and when it has failed.
    :raises trackmllib.UnknownSearch: No search of it was recorded in this process.
    """
    found = results_of(search)
    if found is None:
        raise UnknownSearch(
            f"No search of this {type(search).__name__} was recorded in this process: it was "
            "fitted before autolog() or with recording off, or it was loaded or copied. "
            "trackmllib.load_results(run_id) reads a search from its tracking server."
        )
    return found


def load_results(
    run_id: str, tracking_uri: str | None = None, *, search_id: str | None = None
) -> Results:
    """The results of a search from its tracking server, on any machine.

    Of a search that still runs they are what the server has by now, put together from its child
    runs: up to 14 requests for each of them, one for each metric that has a point for each
    fold. One that has ended takes a handful, however many candidates it has.

    :param run_id: The id of its main run or of one of its child runs, the beginning of such an id,
        the name of a run, or the id of the search.
    :param tracking_uri: Where to look; None for where MLflow would.
    :param search_id: Which search, or the beginning of its id, where several are in one run.
        Without it the newest.
    :raises trackmllib.UnknownSearch: There is no such run, it is no search, or several runs are
        meant; the sentence lists those that are near.
    :raises trackmllib.Unreachable: The server cannot be reached; in 10 s at most.
    """
    # Only here: importing trackmllib does not load mlflow.
    from trackmllib.loading import load

    return load(run_id, tracking_uri, search_id)


def explain(tuner: Any) -> Explanation:
    """What ``autolog(reuse_stages=True)`` shares in a search of this tuner, and whether
    ``autolog(resume=True)`` can reuse its scores later; nothing is run.

    For each stage of its ``Pipeline``: how many times each fold computes it, instead of once for
    each candidate, and why not less. Print it for a table.

    :param tuner: A ``CrossValidator`` or a ``TrainValidationSplit``, with its estimator and grid.
    :returns: ``stages`` with an entry for each stage of the pipeline, or a ``reason`` why nothing
        can be shared; ``resume``, a sentence that says which object keeps scores from being
        reused, if one does, with the ``code_version`` of ``autolog()``.
    :raises TypeError: It is no tuner of ``pyspark.ml.tuning``.
    :raises ValueError: It has no estimator or no grid yet.
    """
    from trackmllib.spark.sharing.explain import explain

    return explain(tuner, code_version())
