"""What is there of a search besides its record: its results for who asks, and its report."""

from __future__ import annotations

import base64
import weakref
from contextlib import suppress
from dataclasses import replace
from typing import Any

from trackmllib import names
from trackmllib.delivery.worker import Delivery
from trackmllib.events import SearchFailed, SearchFinished
from trackmllib.operations import CloseSearch, LogArtifact, OpenMainRun, Operation
from trackmllib.outbox.base import Outbox
from trackmllib.packing import FileText
from trackmllib.redaction import redacted
from trackmllib.reports import HTML, PNG, Reports, Wanted
from trackmllib.running import RunningSearch
from trackmllib.tracking.apply import MlflowTracking
from trackmllib.view.results import Results
from trackmllib.view.runs import Runs
from trackmllib.voice import Voice

# For so long a report waits for a server that is away: its links need the ids of the runs.
PATIENCE_SECONDS = 10.0


class Afterwards:
    """Remembers searches by the tuners and models that users hold, for as long as these live, and
    has the reports made of those that are over.
    """

    def __init__(
        self,
        tracking: MlflowTracking,
        outbox: Outbox,
        delivery: Delivery,
        voice: Voice,
    ) -> None:
        self._tracking = tracking
        self._outbox = outbox
        self._delivery = delivery
        self._remembered: dict[int, tuple[weakref.ref[Any], RunningSearch]] = {}
        self._voice = voice
        # The searches whose reports are still to be made.
        self._wanted: set[str] = set()
        self._reports = Reports()

    def remember(self, thing: Any, search: RunningSearch) -> None:
        """The search of a tuner or a model. Nothing is written on it, and it is not kept alive."""
        key = id(thing)

        def dead(reference: weakref.ref[Any]) -> None:
            # The number may be another's by now.
            if self._remembered.get(key, (None,))[0] is reference:
                del self._remembered[key]

        with suppress(TypeError):
            # Raised for a class of the user's whose objects take no weak reference.
            self._remembered[key] = (weakref.ref(thing, dead), search)

    def search_of(self, thing: Any) -> RunningSearch | None:
        """The search of a tuner or a model; None if it is unknown."""
        reference, search = self._remembered.get(id(thing), (None, None))
        return search if reference is not None and reference() is thing else None

    def results(self, thing: Any) -> Results | None:
        """The results of the search of a tuner or a model, as they are now; None if unknown."""
        search = self.search_of(thing)
        if search is None:
            return None
        with search.recording:
            return Results(search.result.snapshot(), lambda: self.runs(search))

    def runs(self, search: RunningSearch) -> Runs:
        """The runs of a search, as far as the server has made them."""
        experiment, found = self._tracking.run_ids(search.result.search_id)
        if not found:
            return search.runs
        return Runs(
            tracking_uri=redacted(search.destination.tracking_uri),
            experiment_id=experiment,
            main=found[None],
            children={index: run_id for index, run_id in found.items() if index is not None},
        )

    def keep_runs(self, search: RunningSearch) -> bool:
        """Keep the ids of the runs of a search, which tracking is about to forget; whether it may:
        a report that is still to be made needs more than that.
        """
        search.runs = self.runs(search)
        return search.result.search_id not in self._wanted

    def report(self, search: RunningSearch, end: SearchFinished | SearchFailed) -> None:
        """Have the report of a search made. The search of a cell has none: it would be drawn while
        the one around it is running.
        """
        settings = search.settings
        if not (settings.report and settings.record) or search.result.parent is not None:
            return
        search_id = search.result.search_id

        def made(html: FileText, png: bytes | None) -> None:
            self._put(search, end, html, png)
            self._wanted.discard(search_id)

        def given_up(sentence: str) -> None:
            self._wanted.discard(search_id)
            self._voice.once([sentence], search.settings)

        self._wanted.add(search_id)
        sentence = self._reports.add(
            Wanted(
                result=search.result,
                runs=lambda: self._runs_on_server(search),
                made=made,
                given_up=given_up,
            )
        )
        if sentence is not None:
            given_up(sentence)

    def wait(self, timeout: float | None) -> int:
        """Wait until all reports are made; how many are not."""
        return self._reports.wait(timeout)

    def leave(self, timeout: float) -> None:
        """At the end of the process: wait so long for the reports, and say how many are missing."""
        unmade = self.wait(timeout)
        if unmade:
            what = "report is" if unmade == 1 else "reports are"
            self._voice.warn(
                f"{unmade} {what} not made, because the process ends; the record of the searches "
                "is complete. The command `trackmllib report` makes them."
            )

    def _runs_on_server(self, search: RunningSearch) -> Runs:
        search_id = search.result.search_id
        self._delivery.wait_for(
            lambda: not self._outbox.waiting(search_id), search_id, PATIENCE_SECONDS
        )
        return self.runs(search)

    def _put(
        self,
        search: RunningSearch,
        end: SearchFinished | SearchFailed,
        html: FileText,
        png: bytes | None,
    ) -> None:
        """Put the files of a report into the outbox, and what is known of the search once more:
        all its rows may have left, and with them what the outbox knew.
        """
        result = search.result
        search_id = result.search_id
        operations: list[Operation] = [
            LogArtifact(search_id=search_id, file_name=HTML, **html._asdict())
        ]
        if png is not None:
            text = base64.b64encode(png).decode("ascii")
            operations.append(
                LogArtifact(search_id=search_id, file_name=PNG, text=text, is_base64=True)
            )
        operations.append(CloseSearch(search_id=search_id))
        main = self.runs(search).main
        if main is not None and self._tracking.know_again(search_id):
            operations.insert(
                0,
                OpenMainRun(
                    search_id=search_id,
                    destination=replace(search.destination, run_id=main, owned=False),
                    name=names.main_run(result.description, result.parent),
                    start_ms=result.start_ms,
                ),
            )
        self._outbox.put(operations, end)
        self._delivery.start()
