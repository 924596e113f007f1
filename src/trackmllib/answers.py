"""The results of searches, for the user's code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackmllib.view.results import Results


def load_results(
    run_id: str, tracking_uri: str | None = None, *, search_id: str | None = None
) -> Results:
    """The results of a search from its tracking server, on any machine.

    Of a search that still runs they are what the server has by now.

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
