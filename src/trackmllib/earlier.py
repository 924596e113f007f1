"""Finds the scores of earlier searches: in the outboxes of this machine, and on a server.

The outboxes first: what leaves one meanwhile is on its server then.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Collection, Iterator, Mapping

from trackmllib import json_kinds, stored_score
from trackmllib.errors import TrackmllibError
from trackmllib.json_kinds import Damaged
from trackmllib.operations import Destination, LogBatch
from trackmllib.outbox.home import Home
from trackmllib.outbox.not_delivered import batches
from trackmllib.stored_score import RESUMABLE, SEEDS, EarlierScores, StoredScore
from trackmllib.tracking.reading import Reader, StoredRun
from trackmllib.tracking.workspace import in_workspace

# So many runs are read at most of which no score is of use: those of twenty large searches.
MOST_RUNS = 20_000
# Of scores that are not wanted, so many are kept, to say why they are not.
MOST_OTHERS = 5_000
# A Java long.
_SEED = json_kinds.whole(-(2**63), 2**63 - 1)


class EarlierSearches:
    """Earlier searches of this machine (``home``; None for none) and of a server.

    ``uri`` makes a tracking URI whole that was stripped of its credentials.
    """

    def __init__(self, home: Home | None, uri: Callable[[str], str]) -> None:
        self._home = home
        self._uri = uri

    def scores(
        self, family: str, keys: Collection[str], destination: Destination, timeout: float
    ) -> EarlierScores:
        """The scores with these keys. Waits for the server no longer than ``timeout`` seconds; what
        cannot be looked at is said, and no error.
        """
        found = _Scores(keys)
        for batch in self._batches(stored_score.TAG):
            found.add(dict(batch.tags), batch.search_id, None)
        not_seen = ""
        if not found.is_complete():

            def read() -> None:
                for number, run in enumerate(self._runs(family, destination)):
                    search_id = run.tags.get("trackmllib.search_id", "")
                    found.add(run.tags, search_id, run.run_id)
                    if found.is_complete():
                        return
                    if number == MOST_RUNS:
                        raise TrackmllibError(
                            f"there are more than {MOST_RUNS:,} runs of this kind"
                        )

            not_seen = _in_time(read, destination, timeout)
        return found.so_far(not_seen)

    def seeds(self, family: str, destination: Destination, timeout: float) -> dict[str, int]:
        """The seeds of the newest search of a family that nobody had set; none if there is none."""
        found: list[Mapping[str, str]] = []
        for batch in self._batches(SEEDS):
            tags = dict(batch.tags)
            if tags.get(RESUMABLE) == family:
                found.append(tags)

        def read() -> None:
            for run in self._runs(family, destination, also=f" AND tags.`{SEEDS}` != '-'"):
                found.append(run.tags)
                return

        # Waiting on this machine is what came last.
        if not found:
            _in_time(read, destination, timeout)
        if not found:
            return {}
        try:
            return json_kinds.mapping_of(_SEED)(json_kinds.parsed(found[-1][SEEDS]))
        except Damaged:
            return {}

    def _batches(self, containing: str) -> Iterator[LogBatch]:
        return iter(()) if self._home is None else batches(self._home, containing)

    def _runs(self, family: str, destination: Destination, also: str = "") -> Iterator[StoredRun]:
        reader = Reader(self._uri(destination.tracking_uri))
        experiments = _experiments(reader, destination)
        return reader.search(f"tags.`{RESUMABLE}` = '{family}'{also}", experiments)


class _Scores:
    """Scores as they are found; the first of each key stands, which is the newest."""

    def __init__(self, keys: Collection[str]) -> None:
        self._keys = set(keys)
        self._wanted: dict[str, StoredScore] = {}
        self._others: dict[str, StoredScore] = {}
        self._unreadable = 0
        self._lock = threading.Lock()

    def add(self, tags: Mapping[str, str], search_id: str, run_id: str | None) -> None:
        for name, text in tags.items():
            if not stored_score.is_tag(name):
                continue
            try:
                score = stored_score.read(text, search_id, run_id)
            except ValueError:
                with self._lock:
                    self._unreadable += 1
                continue
            with self._lock:
                if score.key in self._keys:
                    self._wanted.setdefault(score.key, score)
                elif len(self._others) < MOST_OTHERS:
                    self._others.setdefault(score.key, score)

    def is_complete(self) -> bool:
        return len(self._wanted) == len(self._keys)

    def so_far(self, not_seen: str) -> EarlierScores:
        with self._lock:
            return EarlierScores(
                wanted=dict(self._wanted),
                others=dict(self._others),
                unreadable=self._unreadable,
                not_seen=not_seen,
            )


def _experiments(reader: Reader, destination: Destination) -> list[str]:
    """Where a search of this destination goes, if that is there already."""
    if destination.experiment_id is not None:
        return [destination.experiment_id]
    if destination.run_id is not None:
        return [reader.get(destination.run_id).experiment_id]
    named = destination.experiment_name or "Default"
    return [each for each, name in reader.experiments().items() if name == named]


def _in_time(read: Callable[[], None], destination: Destination, timeout: float) -> str:
    """Read in another thread, because this one is Spark's, in the workspace of a destination.

    Returns why the read did not finish, or an empty text.
    """
    outcome: list[str] = []

    def reading() -> None:
        try:
            with in_workspace(destination.workspace):
                read()
            outcome.append("")
        except TrackmllibError as error:
            outcome.append(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a server or a store says
            outcome.append(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")

    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(reading,), name="trackmllib-earlier", daemon=True
    )
    thread.start()
    thread.join(timeout)
    return outcome[0] if outcome else f"the tracking server took longer than {timeout:g} s"
