"""The description of a run, which a user and several searches may share.

What a search says stands between two marks with its id, which are not seen on MLflow's page. Only
what stands between marks of ours is ever changed.
"""

from __future__ import annotations

import re

from trackmllib.limits import MAX_TAG_VALUE

NOTE = "mlflow.note.content"

_MARK = "<!-- trackmllib "
_PART = re.compile(
    rf"\n*^{_MARK}(?P<id>\S+) -->$(?:(?!{_MARK}).)*?^<!-- /trackmllib (?P=id) -->$",
    re.DOTALL | re.MULTILINE,
)


def with_part(note: str, search_id: str, text: str) -> str:
    """A description with ``text`` in it as what this search says; as it is where a user wrote it.

    Where it gets longer than MLflow takes, the oldest parts of searches are left out; where the
    user's own text leaves no room, it stays as it is.
    """
    if note.strip() and _MARK not in note:
        return note
    new = f"{_MARK}{search_id} -->\n\n{text}\n\n<!-- /trackmllib {search_id} -->"
    standing = next((part for part in _PART.finditer(note) if part["id"] == search_id), None)
    if standing is None:
        whole = f"{note.rstrip()}\n\n{new}" if note.strip() else new
    else:
        gap = len(standing[0]) - len(standing[0].lstrip("\n"))
        whole = note[: standing.start() + gap] + new + note[standing.end() :]
    shortened = _shortened(whole, search_id)
    return note if shortened is None else shortened


def _shortened(note: str, search_id: str) -> str | None:
    """The note without the parts that find no room; None if the rest finds none either."""
    while len(note) > MAX_TAG_VALUE:
        parts = list(_PART.finditer(note))
        if not parts:
            return None
        # Its own last of all: of a user's text there may be so much that nothing else fits.
        oldest = min(parts, key=lambda part: part["id"] == search_id)
        note = note[: oldest.start()] + note[oldest.end() :]
    return note.lstrip("\n")
