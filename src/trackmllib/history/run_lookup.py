"""Lookup of a parent run by the id or name that a user gives."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from trackmllib.exceptions import UnknownSearch
from trackmllib.history.run_reader import IS_PARENT_RUN, RunReader, StoredRun
from trackmllib.support import formatting
from trackmllib.tracking.client import SEARCH_ID

_ID_PREFIX = re.compile(r"[0-9a-f]{1,31}")
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_SEARCH_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# How many of the newest parent runs are searched for similar names and ids.
SUGGESTED_FROM = 500
MAX_LISTED = 8
MAX_NAME = 80
# How many matching runs are read.
MAX_MATCHES = 100


@dataclass(frozen=True, kw_only=True)
class RunMatch:
    """A parent run, and the search in it that the user means; None for all."""

    parent_run: StoredRun
    search_id: str | None = None


def find_parent_run(reader: RunReader, text: str) -> RunMatch:
    """Find the parent run that a text refers to.

    Run ids take precedence over beginnings of ids, and these over names; parent runs take
    precedence over child runs, which lead to their parent run.

    :raises UnknownSearch: No run matches, or several; the message lists similar runs.
    """
    text = text.strip()
    if not text:
        raise UnknownSearch("the run name is empty; `trackmllib searches` lists all searches")
    if _SEARCH_ID.fullmatch(text.lower()):
        return _by_search_id(reader, text.lower())
    if _RUN_ID.fullmatch(text.lower()):
        run = reader.find(text.lower())
        if run is not None:
            return _by_run(reader, run)
    other_runs: list[StoredRun] = []
    for runs in _candidates(reader, text):
        matches = _parent_runs(reader, runs)
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UnknownSearch(_ambiguous(text, [match.parent_run for match in matches]))
        other_runs += runs
    if other_runs:
        raise UnknownSearch(_not_a_search(other_runs[0]))
    raise UnknownSearch(_unknown(reader, text))


def _candidates(reader: RunReader, text: str) -> Iterator[list[StoredRun]]:
    """Runs by the beginning of an id, then by name; parent runs first."""
    is_prefix = _ID_PREFIX.fullmatch(text.lower())
    clauses = [f"attributes.run_id LIKE '{text.lower()}%'"] if is_prefix else []
    # MLflow's filters have no escape for quotes.
    if not ("'" in text and '"' in text):
        quote = '"' if "'" in text else "'"
        clauses.append(f"attributes.run_name = {quote}{text}{quote}")
    for clause in clauses:
        for condition in (f" AND {IS_PARENT_RUN}", ""):
            try:
                found = reader.search(clause + condition, page_size=MAX_MATCHES)
                yield list(itertools.islice(found, MAX_MATCHES))
            except UnknownSearch:
                # Not every server accepts every name in a filter, or LIKE with an id.
                break


def _by_run(reader: RunReader, run: StoredRun) -> RunMatch:
    if run.deleted:
        raise UnknownSearch(
            f"run {run.run_id} is deleted; restore it with `mlflow runs restore --run-id "
            f"{run.run_id}`"
        )
    for match in _parent_runs(reader, [run]):
        return match
    raise UnknownSearch(_not_a_search(run))


def _by_search_id(reader: RunReader, search_id: str) -> RunMatch:
    # A run has the ids of its second and later searches under other keys.
    for key in (SEARCH_ID, f"{SEARCH_ID}_{search_id}"):
        for run in reader.search(f"tags.`{key}` = '{search_id}'", page_size=1):
            for match in _parent_runs(reader, [run]):
                return RunMatch(parent_run=match.parent_run, search_id=search_id)
    raise UnknownSearch(
        f"there is no search {search_id} on {reader.server}; `trackmllib searches` lists the "
        "searches there, `trackmllib status` those that are not delivered yet"
    )


def _parent_runs(reader: RunReader, runs: Iterable[StoredRun]) -> list[RunMatch]:
    """Parent runs of these runs, or these runs themselves, each once."""
    matches: dict[str, RunMatch] = {}
    parents: dict[str, StoredRun] = {}
    for run in runs:
        parent_id = run.tags.get(MLFLOW_PARENT_RUN_ID)
        if run.search_ids:
            matches.setdefault(run.run_id, RunMatch(parent_run=run))
        elif run.candidate is not None and parent_id is not None:
            if parent_id not in parents:
                parents[parent_id] = reader.get(parent_id)
            parent, search_id = parents[parent_id], run.tags.get(SEARCH_ID)
            if search_id in parent.search_ids:
                match = RunMatch(parent_run=parent, search_id=search_id)
                matches.setdefault(parent.run_id, match)
    return list(matches.values())


def _ambiguous(text: str, runs: list[StoredRun]) -> str:
    some = "some of them" if len(runs) > MAX_LISTED else "they"
    return (
        f"'{_one_line(text)}' matches several runs; give more of the run id. "
        f"{some.capitalize()} are\n{_table(runs)}"
    )


def _not_a_search(run: StoredRun) -> str:
    return (
        f"run {run.run_id} ({_one_line(run.name)}) is not a search of trackmllib; "
        "`trackmllib searches` lists all searches"
    )


def _unknown(reader: RunReader, text: str) -> str:
    message = f"there is no run '{_one_line(text)}' on {reader.server}"
    newest = list(itertools.islice(reader.parent_runs(), SUGGESTED_FROM))
    similar = _similar(text.lower(), newest)
    if similar:
        return f"{message}; similar runs are\n{_table(similar)}"
    return f"{message}; `trackmllib searches` lists the searches there"


def _similar(text: str, runs: list[StoredRun]) -> list[StoredRun]:
    """Runs whose name contains the text, or whose name or id is similar."""
    containing = [run for run in runs if text in run.name.lower()]
    names = difflib.get_close_matches(text, {run.name.lower() for run in runs}, n=MAX_LISTED)
    prefixes = [run.run_id[: len(text)] for run in runs]
    ids = difflib.get_close_matches(text, prefixes, n=MAX_LISTED)
    others = [run for run in runs if run.name.lower() in names or run.run_id[: len(text)] in ids]
    return list({run.run_id: run for run in (*containing, *others)}.values())


def _table(runs: list[StoredRun]) -> str:
    return "\n".join(
        f"  {run.run_id}  {datetime.fromtimestamp(run.start_ms / 1000):%Y-%m-%d %H:%M}  "
        f"{_one_line(run.name)}"
        for run in runs[:MAX_LISTED]
    )


def _one_line(text: str) -> str:
    return formatting.visible(text, MAX_NAME)
