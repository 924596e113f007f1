"""Tag with the ids of the searches that a user asks to stop."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow import MlflowClient

from trackmllib.tracking.client import search_ids
from trackmllib.tracking.conflicts import with_search_id

STOP = "trackmllib.stop"
# Set by a user in the MLflow UI: all searches that are running in the run.
_ALL = "true"
# A store may limit a tag to 5,000 characters.
_MAX_IDS = 100


def tag_value(wanted: Iterable[str]) -> str:
    """Value of the tag to stop these searches."""
    return ", ".join([*dict.fromkeys(wanted)][:_MAX_IDS])


def requested_ids(tags: Mapping[str, str]) -> list[str]:
    """Ids of the searches that the tags of a parent run ask to stop."""
    return re.findall(r"[^\s,]+", tags.get(STOP, "").lower())


def is_requested(client: MlflowClient, run: Any, search_id: str) -> bool:
    """Whether the tags of a parent run ask a running search to stop."""
    name_all(client, run, search_id)
    return search_id in requested_ids(run.data.tags)


def name_all(client: MlflowClient, run: Any, *running: str) -> None:
    """Replace ``true`` in the tag with the ids of the searches in the run.

    The request then reaches each of them, and no later search.
    """
    tags = run.data.tags
    if requested_ids(tags) != [_ALL]:
        return
    # The first search in a run, whose tag has no suffix, is the oldest.
    newest_first = sorted(
        search_ids(tags),
        key=lambda each: tags.get(with_search_id("trackmllib.started", each), ""),
        reverse=True,
    )
    tags[STOP] = tag_value([*running, *newest_first]) or "no running search"
    client.set_tag(run.info.run_id, STOP, tags[STOP], synchronous=True)
