"""Loader of searches from a tracking server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from trackmllib.domain.descriptions import Cost
from trackmllib.domain.search_state import SearchState
from trackmllib.exceptions import DamagedSearch, UnknownSearch, Unreachable
from trackmllib.history import child_run_state
from trackmllib.history.run_lookup import RunMatch, find_parent_run
from trackmllib.history.run_reader import RunReader, StoredRun
from trackmllib.recorder import artifact_reader, artifacts
from trackmllib.reporting.results import Results
from trackmllib.reporting.run_links import RunLinks

ALL_COSTS = tuple(Cost().by_name())
# Costs in a report.
REPORT_COSTS = ("executorRunTime",)


@dataclass(frozen=True, kw_only=True)
class LoadedSearch:
    """A loaded search and its parent run."""

    parent_run: StoredRun
    results: Results


def load_search(run: str, tracking_uri: str | None, search_id: str | None = None) -> Results:
    """Load the search of a run; the newest if the run has several."""
    return load_searches(RunReader(tracking_uri), run, search_id)[-1].results


def load_searches(
    reader: RunReader,
    run: str,
    search_id: str | None = None,
    *,
    costs: Collection[str] = ALL_COSTS,
    leave_out: Callable[[str], None] | None = None,
) -> list[LoadedSearch]:
    """Load the searches of a run, oldest first.

    :param run: What ``find_parent_run`` accepts.
    :param search_id: Load only this search; the beginning of its id is enough.
    :param costs: The costs of a running search to load; each takes a request per child run.
    :param leave_out: Called with a message for each damaged search, if another search of the run is
        intact. None raises for any damaged search.
    :raises UnknownSearch: There is no such search, or its description is not delivered yet.
    :raises DamagedSearch: A file of a search is damaged.
    """
    match = find_parent_run(reader, run)
    parent = match.parent_run
    loaded, damages = [], []
    for each in wanted_ids(match, search_id):
        try:
            state, children = load_state(reader, parent, each, costs=costs)
        except DamagedSearch as error:
            damages.append(error)
            continue
        if state is not None:
            loaded.append(_loaded(reader, parent, state, children))
    for damage in damages:
        if leave_out is None or not loaded:
            raise damage
        leave_out(str(damage))
    if not loaded:
        raise UnknownSearch(
            f"the description of the search on run {parent.run_id} ({artifacts.SEARCH}) is not "
            "delivered yet; try again later"
        )
    return sorted(loaded, key=lambda each: each.results.search.start_ms)


def wanted_ids(match: RunMatch, search_id: str | None = None) -> list[str]:
    """Ids of the searches that a command refers to.

    :param search_id: Only this search; the beginning of its id is enough.
    :raises UnknownSearch: The run has no such search.
    """
    if search_id is not None:
        return [_complete_id(match, search_id)]
    return [match.search_id] if match.search_id else match.parent_run.search_ids


def has_ended(reader: RunReader, parent: StoredRun, search_id: str) -> bool:
    """Whether a search has ended; its run may continue if it is the user's.

    A search whose process died counts as ended once it is recovered.
    """
    if parent.status != "RUNNING":
        return True
    if not parent.is_users:
        return False
    try:
        _, outcome = reader.files(parent, search_id, artifacts.SEARCH, artifacts.OUTCOME)
    except (Unreachable, UnknownSearch):
        # The artifact store may be unavailable while the server answers.
        return False
    return outcome is not None


def load_state(
    reader: RunReader, parent: StoredRun, search_id: str, *, costs: Collection[str] = ALL_COSTS
) -> tuple[SearchState | None, dict[int, StoredRun]]:
    """Load the state of a search, and its child runs by candidate.

    The state of an ended search is in its files; otherwise it is rebuilt from the runs. It is None
    if ``search.json`` is not delivered yet.
    """
    described, outcome = reader.files(parent, search_id, artifacts.SEARCH, artifacts.OUTCOME)
    if described is None:
        return None, {}
    try:
        state = artifact_reader.read_state(described, outcome)
    except ValueError as error:
        raise DamagedSearch(
            f"search {search_id} on run {parent.run_id} cannot be shown: {error}"
        ) from error
    if state.search_id != search_id:
        return None, {}
    children = reader.children(parent, search_id)
    if outcome is None:
        child_run_state.rebuild(state, reader, parent, children, costs)
    return state, children


def _loaded(
    reader: RunReader, parent: StoredRun, state: SearchState, children: Mapping[int, StoredRun]
) -> LoadedSearch:
    run_links = RunLinks(
        tracking_uri=reader.uri,
        experiment_id=parent.experiment_id,
        parent=parent.run_id,
        children={index: run.run_id for index, run in children.items()},
    )
    return LoadedSearch(parent_run=parent, results=Results(state, lambda: run_links))


def _complete_id(match: RunMatch, prefix: str) -> str:
    known = match.parent_run.search_ids
    matching = [each for each in known if each.startswith(prefix.strip().lower())]
    if len(matching) == 1:
        return matching[0]
    number = "several searches" if matching else "no search"
    raise UnknownSearch(
        f"{prefix!r} matches {number} of run {match.parent_run.run_id}; it has "
        f"{', '.join(sorted(known))}"
    )
