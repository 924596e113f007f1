"""Finds the main run that somebody means: by its id or the beginning of it, by its name, by the id
of a search, or by a child run.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from trackmllib import limits
from trackmllib.errors import UnknownSearch
from trackmllib.tracking.client import SEARCH_ID
from trackmllib.tracking.reading import IS_MAIN_RUN, Reader, StoredRun

_BEGINNING = re.compile(r"[0-9a-f]{1,31}")
_WHOLE_ID = re.compile(r"[0-9a-f]{32}")
_SEARCH_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Of so many main runs, the newest, is it looked for one that may have been meant.
NEAR_AMONG = 500
LISTED = 8
# So many runs are looked at that one text could mean.
AT_MOST = 100


@dataclass(frozen=True, kw_only=True)
class Found:
    """A main run; ``search_id`` is the search that was meant, None for all of this run."""

    main: StoredRun
    search_id: str | None = None


def find(reader: Reader, meant: str) -> Found:
    """The main run that is meant.

    A whole id comes before the beginning of one, and that before a name; main runs come before
    other runs, and a child run leads to the main run of its search.

    :raises UnknownSearch: there is none, or there are several; the sentence lists what is near.
    """
    text = meant.strip()
    if not text:
        raise UnknownSearch("there is no run without a name; `trackmllib searches` lists them")
    if _SEARCH_ID.fullmatch(text.lower()):
        return _by_search(reader, text.lower())
    if _WHOLE_ID.fullmatch(text.lower()):
        run = reader.find(text.lower())
        if run is not None:
            return _by_id(reader, run)
    no_search: list[StoredRun] = []
    for runs in _looked_up(reader, text):
        found = _main_runs(reader, runs)
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownSearch(_ambiguous(text, [each.main for each in found]))
        no_search += runs
    if no_search:
        raise UnknownSearch(_no_search(no_search[0]))
    raise UnknownSearch(_unknown(reader, text))


def _looked_up(reader: Reader, text: str) -> Iterator[list[StoredRun]]:
    """What is found by the beginning of an id and by name, of main runs first."""
    beginning = _BEGINNING.fullmatch(text.lower())
    clauses = [f"attributes.run_id LIKE '{text.lower()}%'"] if beginning else []
    if not ("'" in text and '"' in text):
        quote = '"' if "'" in text else "'"
        clauses.append(f"attributes.run_name = {quote}{text}{quote}")
    for clause in clauses:
        for also in (f" AND {IS_MAIN_RUN}", ""):
            try:
                found = reader.search(clause + also, page_size=AT_MOST)
                yield list(itertools.islice(found, AT_MOST))
            except UnknownSearch:
                # Not every server takes every name in a filter, or the beginning of an id.
                break


def _by_id(reader: Reader, run: StoredRun) -> Found:
    if run.deleted:
        raise UnknownSearch(
            f"run {run.run_id} is deleted; `mlflow runs restore --run-id {run.run_id}` brings it "
            "back"
        )
    for found in _main_runs(reader, [run]):
        return found
    raise UnknownSearch(_no_search(run))


def _by_search(reader: Reader, search_id: str) -> Found:
    """By the id of a search, which its child runs have as well as its main run."""
    for key in (SEARCH_ID, f"{SEARCH_ID}_{search_id}"):
        for run in reader.search(f"tags.`{key}` = '{search_id}'", page_size=1):
            for found in _main_runs(reader, [run]):
                return Found(main=found.main, search_id=search_id)
    raise UnknownSearch(
        f"there is no search {search_id} on {reader.server}; `trackmllib searches` lists what is "
        "there, and `trackmllib status` what has not arrived yet"
    )


def _main_runs(reader: Reader, runs: Iterable[StoredRun]) -> list[Found]:
    """The main runs that these runs lead to, each once."""
    found: dict[str, Found] = {}
    parents: dict[str, StoredRun] = {}
    for run in runs:
        parent = run.tags.get(MLFLOW_PARENT_RUN_ID)
        if run.search_ids:
            found.setdefault(run.run_id, Found(main=run))
        elif run.candidate is not None and parent is not None:
            if parent not in parents:
                parents[parent] = reader.get(parent)
            main, search_id = parents[parent], run.tags.get(SEARCH_ID)
            if search_id in main.search_ids:
                found.setdefault(main.run_id, Found(main=main, search_id=search_id))
    return list(found.values())


def _ambiguous(text: str, runs: list[StoredRun]) -> str:
    more = ", and there are more" if len(runs) > LISTED else ""
    return f"'{_shown(text)}' could be any of these{more}; say more of the id:\n{_listed(runs)}"


def _no_search(run: StoredRun) -> str:
    return (
        f"run {run.run_id} ({_shown(run.name)}) is no search of trackmllib; `trackmllib searches` "
        "lists those"
    )


def _unknown(reader: Reader, text: str) -> str:
    sentence = f"there is no run '{_shown(text)}' on {reader.server}"
    near = _near(text.lower(), list(itertools.islice(reader.main_runs(), NEAR_AMONG)))
    if near:
        return f"{sentence}; near it are\n{_listed(near)}"
    return f"{sentence}; `trackmllib searches` lists the searches there"


def _near(text: str, runs: list[StoredRun]) -> list[StoredRun]:
    """Those whose name holds the text or nearly is it, or whose id is nearly it."""
    holding = [run for run in runs if text in run.name.lower()]
    names = {run.name.lower() for run in runs}
    alike = difflib.get_close_matches(text, names, n=LISTED)
    ids = difflib.get_close_matches(text, [run.run_id[: len(text)] for run in runs], n=LISTED)
    others = [run for run in runs if run.name.lower() in alike or run.run_id[: len(text)] in ids]
    return list({run.run_id: run for run in (*holding, *others)}.values())


def _listed(runs: list[StoredRun]) -> str:
    return "\n".join(
        f"  {run.run_id}  {datetime.fromtimestamp(run.start_ms / 1000):%Y-%m-%d %H:%M}  "
        f"{_shown(run.name)}"
        for run in runs[:LISTED]
    )


def _shown(text: str) -> str:
    """A name that anybody may have given, on one line of a terminal."""
    return limits.cut("".join(c if c.isprintable() else "�" for c in text), 80)
