"""The tag by which a user asks a search to stop."""

from __future__ import annotations

from mlflow import MlflowClient

# Set to "true" on the parent run, by the user or by ``trackmllib stop``.
STOP = "trackmllib.stop"


def consume(client: MlflowClient, run_id: str, search_id: str) -> bool:
    """Whether the tag of a parent run asks for a stop; if so, change it.

    The tag then names the search that has seen it, and does not stop the next search of this run.
    """
    tag = str(client.get_run(run_id).data.tags.get(STOP, ""))
    is_requested = tag.strip().lower() == "true"
    if is_requested:
        client.set_tag(run_id, STOP, f"seen by {search_id}", synchronous=True)
    return is_requested
