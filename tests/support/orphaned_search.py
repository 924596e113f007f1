"""Outboxes of processes that died while they recorded a search.

orphaned_search.py FOLDER URI CANDIDATES SEARCH_ID EVENTS CHILDREN leaves the outbox of a process
that was killed after so many events; the end counts as one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import uuid
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.search_events import numbered_search
from support.search_player import UnreachableTarget, new_session


def create_orphaned_outbox(
    home: Path,
    uri: str,
    candidates: int,
    *,
    search_id: str = "",
    after: int = sys.maxsize,
    children: str = "all",
) -> str:
    """Leave the outbox of a dead process whose server never answered; return the search id."""
    search_id = search_id or str(uuid.uuid4())
    arguments = [str(home), uri, str(candidates), search_id, str(after), children]
    subprocess.run([sys.executable, __file__, *arguments], check=True, timeout=120)
    return search_id


def _main(home: str, uri: str, candidates: str, search_id: str, after: str, children: str) -> None:
    session = new_session(Path(home), uri, UnreachableTarget(), children=children)
    for event in itertools.islice(numbered_search(search_id, int(candidates)), int(after)):
        session.callbacks.emit(event)
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
