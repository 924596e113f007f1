"""The description of a run, which the user and several searches may share.

Each search has a section between two marks with its id, which the MLflow UI does not show.
trackmllib changes only these sections.
"""

from __future__ import annotations

import re

from trackmllib.domain.mlflow_limits import MAX_TAG_VALUE

NOTE = "mlflow.note.content"

_MARK = "<!-- trackmllib "
_SECTION = re.compile(
    rf"\n*^{_MARK}(?P<id>\S+) -->$(?:(?!{_MARK}).)*?^<!-- /trackmllib (?P=id) -->$",
    re.DOTALL | re.MULTILINE,
)


def merge_section(note: str, search_id: str, text: str) -> str:
    """Set the section of a search in a description.

    The oldest sections are dropped if the result is longer than MLflow accepts. A description
    without sections, by the user, is not changed, nor one whose other text leaves no room.
    """
    if note.strip() and _MARK not in note:
        return note
    new = f"{_MARK}{search_id} -->\n\n{text}\n\n<!-- /trackmllib {search_id} -->"
    old = next((found for found in _SECTION.finditer(note) if found["id"] == search_id), None)
    if old is None:
        merged = f"{note.rstrip()}\n\n{new}" if note.strip() else new
    else:
        gap = len(old[0]) - len(old[0].lstrip("\n"))
        merged = note[: old.start() + gap] + new + note[old.end() :]
    shortened = _shortened(merged, search_id)
    return note if shortened is None else shortened


def _shortened(note: str, search_id: str) -> str | None:
    """Drop the oldest sections of a note until it fits; None if it cannot."""
    while len(note) > MAX_TAG_VALUE:
        sections = list(_SECTION.finditer(note))
        if not sections:
            return None
        # The section of this search goes last: the user's text may leave no room for others.
        oldest = min(sections, key=lambda section: section["id"] == search_id)
        note = note[: oldest.start()] + note[oldest.end() :]
    return note.lstrip("\n")
