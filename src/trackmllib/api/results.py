"""``results()``, ``load_results()`` and ``explain()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trackmllib.api.autolog import current_settings, results_of
from trackmllib.exceptions import UnknownSearch

if TYPE_CHECKING:
    from trackmllib.reporting.results import Results
    from trackmllib.spark.middleware.explain import Explanation


def results(search: Any) -> Results:
    """Get the results of a search in this process, without requests.

    They are available as long as the model or the tuner exists.

    Args:
        search: The model that ``fit()`` returned, or the tuner for its last search, even if that is
            running or has failed.

    Returns:
        The results as of now; call it again to follow a running search.

    Raises:
        trackmllib.UnknownSearch: This process has not recorded the search.

    Example:
        >>> res = trackmllib.results(model)
        >>> res.best.params, res.best.average
        ({'maxDepth': 4}, 0.842)
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
    """Load the results of a search from its tracking server.

    A finished search takes a handful of requests; a running one up to 14 per child run.

    Args:
        run_id: Id of the parent run or a child run, or its beginning; a run name; or a search id.
        tracking_uri: Tracking server; None for MLflow's current one.
        search_id: Search id, or its beginning, if the run has several searches. None for the newest
            search.

    Returns:
        The results, as recorded so far if the search is running.

    Raises:
        trackmllib.UnknownSearch: No run or several runs match, the run has no search, or the server
            rejects the request. The message lists similar runs.
        trackmllib.exceptions.DamagedSearch: An artifact of the search is damaged.
        trackmllib.Unreachable: The server does not answer (first within 5 s, then within 30 s each,
            or ``MLFLOW_HTTP_REQUEST_TIMEOUT``), or refuses the credentials.

    Example:
        >>> res = trackmllib.load_results("3f2c", "http://mlflow:5000")
        >>> res.to_pandas().sort_values("rank").head()
    """
    # Imported late, so that importing trackmllib does not load mlflow.
    from trackmllib.history.search_loader import load_search

    return load_search(run_id, tracking_uri, search_id)


def explain(tuner: Any) -> Explanation:
    """Explain what some opt-ins can do for a search.

    Runs no Spark job. For ``reuse_stages``, the explanation says how often a fold computes each
    stage of the tuner's ``Pipeline``, and what prevents more sharing. For ``nested_fits``, it says
    which candidate of each group is fitted, and which candidates are fitted separately and why. For
    ``resume``, it says whether a later search can reuse the scores. Print it for tables.

    Args:
        tuner: A ``CrossValidator`` or a ``TrainValidationSplit`` with its estimator and grid.

    Returns:
        An object with ``stages``, or with the ``reason`` why nothing can be shared;
        ``nested_fits``, the groups of nested candidates, and those fitted separately; ``resume``, a
        sentence that says whether scores can be reused with the current ``code_version``; and
        ``enabled``, those of ``reuse_stages``, ``nested_fits`` and ``parallel_folds`` that are on.

    Raises:
        TypeError: ``tuner`` is not a tuner of ``pyspark.ml.tuning``.
        ValueError: ``tuner`` has no estimator or no grid.

    Example:
        >>> print(trackmllib.explain(cv))
        reuse_stages on a CrossValidator of 6 candidates and 3 folds
        ...
    """
    from trackmllib.spark.middleware.explain import explain

    return explain(tuner, current_settings())
