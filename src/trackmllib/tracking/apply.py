"""Applies operations to tracking servers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from mlflow import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from trackmllib import limits
from trackmllib.errors import Blocked, Rejected, Unavailable
from trackmllib.operations import (
    CloseSearch,
    CreateChildRun,
    Describe,
    Destination,
    EndRun,
    LinkSearch,
    LogArtifact,
    LogBatch,
    LogDataset,
    OpenMainRun,
    Operation,
    TakeOver,
)
from trackmllib.redaction import stripped
from trackmllib.stored_score import RESUMED_BY, RESUMED_FROM
from trackmllib.tracking import artifacts
from trackmllib.tracking import client as calls
from trackmllib.tracking.credentials import Credentials
from trackmllib.tracking.datasets import log_dataset
from trackmllib.tracking.failures import meaning, translate
from trackmllib.tracking.http import tried_once
from trackmllib.tracking.known import (
    DESCRIBED,
    DOUBTFUL,
    ENDED,
    EXPERIMENT,
    FILES,
    MADE,
    REJECTED,
    RUN,
    SERVER,
    WORKSPACE,
    Known,
    Memory,
    rejection,
    run,
)
from trackmllib.tracking.main_run import FOLDER, STOP, MainRun
from trackmllib.tracking.notes import NOTE, with_part
from trackmllib.tracking.points import StandingPoints
from trackmllib.tracking.together import OneTransaction, one_transaction
from trackmllib.tracking.workspace import in_workspace

logger = logging.getLogger(__name__)

# What waits of so many runs goes in one transaction at most: nobody else can write to the file
# meanwhile.
MOST_RUNS = 100


class MlflowTracking:
    """Knows the server's run ids of the searches it applies. ``apply`` is for one thread at a time.

    ``note`` is handed a search id and a sentence about what happened to its runs.
    """

    def __init__(
        self,
        note: Callable[[str, str], None],
        memory: Memory,
        credentials: Credentials | None = None,
    ) -> None:
        self._note = note
        self._memory = memory
        self._credentials = credentials or Credentials()
        self._clients: dict[str, MlflowClient] = {}
        self._known: dict[str, Known] = {}
        self._points = StandingPoints()
        self._context_tags: dict[str, str] | None = None
        self._transactions: dict[str, OneTransaction | None] = {}
        # The client of the transaction that is open.
        self._within: MlflowClient | None = None
        # Kept when the rest is forgotten: threads of a search that failed may run on for long.
        self._main_runs: dict[str, str] = {}

    def apply(self, operation: Operation, again: bool = False) -> None:
        """Carry out one operation; ``again`` if it may have been before.

        Raises Rejected or Unavailable, whatever MLflow raised.
        """
        known = self._known_of(operation.search_id)
        server = known.get(SERVER) or ""
        try:
            with tried_once(), in_workspace(_workspace(known, operation)):
                if isinstance(operation, OpenMainRun):
                    server = operation.destination.tracking_uri
                    self._open(operation, known, again)
                elif known.get(ENDED) == "yes" and _is_left_out(operation, known.get(MADE)):
                    return
                else:
                    self._apply_to_run(operation, known, again)
        except Exception as error:
            failure = translate(error, server)
            if isinstance(operation, (OpenMainRun, CreateChildRun)) and isinstance(
                failure, Rejected
            ):
                known.keep({rejection(operation.candidate): str(failure)})
            if failure is error:
                raise
            raise failure from error

    def answers(self, search_id: str) -> bool:
        """Whether the tracking server of a search answers now, and takes what is written to it."""
        known = self._known_of(search_id)
        run_id = known.get(RUN)
        if run_id is None:
            return False
        ours = [each for candidate, each in known.runs().items() if candidate is not None]
        if known.get(MADE):
            ours.append(run_id)
        try:
            with tried_once(), in_workspace(_workspace(known)):
                client = self._client(known.get(SERVER) or "")
                if ours:
                    # A tag that the run has already. A store may well be read, and not be written.
                    self._write_tag(client, ours, search_id)
                else:
                    client.get_run(run_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, this is no answer
            logger.debug("No answer: %s", error)
            return False
        return True

    def _write_tag(self, client: MlflowClient, ours: list[str], search_id: str) -> None:
        """On one of two runs, because the user may have deleted one; that MLflow takes it on none
        of them is an answer too.
        """
        for each in dict.fromkeys((ours[0], ours[-1])):
            try:
                client.set_tag(each, calls.SEARCH_ID, search_id, synchronous=True)
            except Exception as error:
                if meaning(error) is not Rejected:
                    raise
            else:
                return

    def runs_at_once(self) -> int:
        """Of how many runs operations can go together: where no store is a file, of one."""
        return MOST_RUNS if any(map(self._transaction, list(self._known.values()))) else 1

    def fit_together(self, operations: Sequence[Operation]) -> int:
        """How many of the first ones ``apply_together`` takes: what asks the server nothing."""
        known = self._known_of(operations[0].search_id)
        if known.get(ENDED) == "yes" or self._transaction(known) is None:
            return 0
        made = known.get(MADE)
        return sum(
            1
            for _ in takewhile(
                lambda o: o.search_id == known.search_id and _asks_nothing(o, made), operations
            )
        )

    def apply_together(self, operations: Sequence[Operation]) -> bool:
        """Carry out all of these, or none: whether it did. What is wrong, each of them says by
        itself.
        """
        known = self._known_of(operations[0].search_id)
        transaction = self._transaction(known)
        if transaction is None:
            return False
        made = {known.get(run(operation.candidate)) for operation in operations}
        try:
            with (
                tried_once(),
                in_workspace(_workspace(known)),
                known.all_or_nothing(),
                transaction(filter(None, made)) as self._within,
            ):
                for operation in operations:
                    self._apply_to_run(operation, known, again=False)
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing was done
            logger.debug("Not together: %s", error)
            return False
        finally:
            self._within = None
        return True

    def run_id(self, search_id: str, candidate: int | None) -> str | None:
        """The server's id of a run, None if it is not made yet; Rejected if it could not be."""
        known = self._known.get(search_id)
        if known is None:
            return None
        refused = known.stands(rejection(candidate)) or known.stands(REJECTED)
        if refused:
            raise Rejected(refused)
        return known.stands(run(candidate))

    def run_ids(self, search_id: str) -> tuple[str | None, dict[int | None, str]]:
        """The experiment of a search, and the ids of its runs by candidate (None: the main run), as
        far as they were made.
        """
        known = self._known.get(search_id)
        return (None, {}) if known is None else (known.get(EXPERIMENT), known.runs())

    def know_again(self, search_id: str) -> bool:
        """Have the outbox keep what is known of a search whose rows have all left it; whether
        anything is known.
        """
        known = self._known.get(search_id)
        return known is not None and known.keep_again()

    def main_run_id(self, search_id: str) -> str | None:
        """The id of the main run, as far as it was made; also of a search that is forgotten."""
        return self._main_runs.get(search_id)

    def take_stop(self, search_id: str) -> bool:
        """Whether somebody asks on the main run for the end of a search; then the tag says that it
        was seen, and asks the next search of this run for nothing. DeliveryError where the server
        does not answer. May be called from another thread than ``apply``.
        """
        known = self._known.get(search_id)
        run_id = None if known is None else known.stands(RUN)
        if known is None or run_id is None:
            return False
        server = known.get(SERVER) or ""
        try:
            with tried_once(), in_workspace(_workspace(known)):
                client = self._client(server)
                tag = str(client.get_run(run_id).data.tags.get(STOP, ""))
                asked = tag.strip().lower() == "true"
                if asked:
                    client.set_tag(run_id, STOP, f"seen by {search_id}", synchronous=True)
                return asked
        except Exception as error:
            raise translate(error, server) from error

    def forget(self, search_id: str) -> None:
        """Drop what is kept in memory of a search of which nothing more will come. While something
        of it is deferred or rejected, other searches on its run do without its names.
        """
        if not any(self._memory.undelivered(search_id)):
            self._known.pop(search_id, None)

    def _open(self, operation: OpenMainRun, known: Known, again: bool) -> None:
        if known.get(RUN):
            return
        destination = operation.destination
        client = self._client(destination.tracking_uri)
        if destination.run_id is None:
            experiment_id, parent = self._place(client, destination, known)
            tags = {calls.SEARCH_ID: operation.search_id, **parent}
            if operation.description:
                tags[NOTE] = with_part("", operation.search_id, operation.description)
            made = self._create(client, experiment_id, operation, tags, known, again)
        else:
            made = client.get_run(destination.run_id)
            if destination.owned:
                calls.resume(client, made, destination)
        if destination.parent_search_id is None:
            self._main_runs[operation.search_id] = made.info.run_id
        known.keep(
            {
                RUN: made.info.run_id,
                EXPERIMENT: made.info.experiment_id,
                SERVER: destination.tracking_uri,
                WORKSPACE: destination.workspace or "",
                FILES: _without_secrets(made.info.artifact_uri),
                MADE: "" if destination.run_id else "yes",
            }
        )

    def _place(
        self, client: MlflowClient, destination: Destination, known: Known
    ) -> tuple[str, dict[str, str]]:
        """The experiment of a main run, and the tag that nests it, if it is nested."""
        outer = destination.parent_search_id
        if outer is None:
            if not known.get(EXPERIMENT):
                # Kept, as a busy server may refuse what follows many times.
                known.keep({EXPERIMENT: calls.experiment_id(client, destination)})
            return known.get(EXPERIMENT) or "", {}
        of_outer = self._known.get(outer) or Known(outer, self._memory)
        candidate = destination.parent_candidate
        parent = of_outer.get(run(candidate))
        experiment_id = of_outer.get(EXPERIMENT)
        if parent is None:
            rejected = of_outer.get(rejection(candidate)) or of_outer.get(REJECTED)
            if rejected:
                raise Rejected(f"its parent run was rejected: {rejected}")
            # An earlier process may have delivered the outer search and forgotten it.
            experiment_id = experiment_id or calls.experiment_id(client, destination)
            found = calls.find_run(client, experiment_id, outer, candidate)
            if found is None and self._memory.waits_for_run(outer, candidate):
                raise Unavailable("its parent run is not on the tracking server yet")
            if found is None:
                raise Blocked("its parent run is not on the tracking server")
            parent = found.info.run_id
        return experiment_id or "", {MLFLOW_PARENT_RUN_ID: parent}

    def _known_of(self, search_id: str) -> Known:
        if search_id not in self._known:
            self._known[search_id] = Known(search_id, self._memory)
        return self._known[search_id]

    def _transaction(self, known: Known) -> OneTransaction | None:
        """What makes many calls one on the server of a search, where that is a file."""
        uri = known.get(SERVER)
        if uri is None:
            return None
        if uri not in self._transactions:
            self._transactions[uri] = one_transaction(self._client(uri), uri)
        return self._transactions[uri]

    def _main_run(self, known: Known) -> MainRun:
        search_id = known.search_id
        if not known.get(RUN):
            raise Rejected(known.get(REJECTED) or "the parent run was not opened")
        # Another client than the last time where the user has given other credentials meanwhile.
        client = self._within or self._client(known.get(SERVER) or "")
        return MainRun(
            client,
            known,
            self._points,
            others=lambda: self._others_on_run(known),
            note=lambda text: self._note(search_id, text),
        )

    def _others_on_run(self, known: Known) -> list[Known]:
        """The other searches that log to the main run of a search."""
        where = (known.get(SERVER), known.get(RUN))
        others = list(self._known.values())
        return [o for o in others if o is not known and (o.get(SERVER), o.get(RUN)) == where]

    def _apply_to_run(self, operation: Operation, known: Known, again: bool) -> None:
        if operation.candidate is None:
            self._apply_to_main(operation, self._main_run(known), again)
        else:
            self._apply_to_child(operation, operation.candidate, known, again)

    def _apply_to_main(self, operation: Operation, main: MainRun, again: bool) -> None:
        match operation:
            case LogBatch():
                main.log(operation, again)
            case LogArtifact():
                main.log_file(operation.file_name, operation.pieces())
            case Describe():
                main.describe(operation.text, may_be_old=again and not operation.is_last)
                if operation.is_last:
                    self._known[operation.search_id].keep({DESCRIBED: "yes"})
            case LinkSearch():
                self._link(operation.earlier, main)
            case LogDataset():
                log_dataset(main.client, main.run_id, operation, self._context())
            case EndRun():
                self._end(main.client, main.run_id, operation)
            case TakeOver():
                known = self._known[operation.search_id]
                if known.get(ENDED) is None:
                    # Decided once: what follows writes the results of the recovery itself.
                    ended = "yes" if main.has_results() else "no"
                    known.keep({ENDED: ended}, on_disk=True)
            case CloseSearch():
                known = self._known[operation.search_id]
                if known.get(DOUBTFUL):
                    calls.delete_doubles(
                        main.client,
                        known.get(EXPERIMENT) or "",
                        operation.search_id,
                        keep=lambda candidate: self._kept(known, candidate),
                    )

    def _link(self, earlier: str, main: MainRun) -> None:
        """Say on two main runs that the search of one goes on in the other."""
        experiment_id = self._known_of(main.search_id).get(EXPERIMENT) or ""
        found = calls.find_run(main.client, experiment_id, earlier, None)
        if found is None or found.info.run_id == main.run_id:
            return
        before = main.client.get_run(main.run_id).data.tags.get(RESUMED_FROM, "")
        sources = dict.fromkeys([*filter(None, before.split(", ")), found.info.run_id])
        main.client.set_tag(
            main.run_id, RESUMED_FROM, limits.tag_value(", ".join(sources)), synchronous=True
        )
        main.client.set_tag(found.info.run_id, RESUMED_BY, main.run_id, synchronous=True)

    def _apply_to_child(
        self, operation: Operation, candidate: int, known: Known, again: bool
    ) -> None:
        main = self._main_run(known)
        run_id = known.get(run(candidate))
        if isinstance(operation, CreateChildRun):
            if run_id is None:
                tags = {MLFLOW_PARENT_RUN_ID: main.run_id, **dict(operation.tags)}
                experiment_id = known.get(EXPERIMENT) or ""
                made = self._create(main.client, experiment_id, operation, tags, known, again)
                known.keep({run(candidate): made.info.run_id})
            return
        if run_id is None:
            # The disk lost what was known, or the run was refused.
            found = calls.find_run(main.client, known.get(EXPERIMENT) or "", *operation.run)
            if found is None:
                raise Rejected("a child run could not be made")
            run_id = found.info.run_id
            known.keep({run(candidate): run_id})
        match operation:
            case LogBatch():
                if again:
                    operation = self._points.without_them(main.client, run_id, operation)
                self._points.forget(run_id)
                calls.log_batch(main.client, run_id, operation)
            case LogArtifact():
                path = f"{FOLDER}/{operation.file_name}"
                place = main.client.get_run(run_id).info.artifact_uri
                artifacts.log_file(main.client, place, operation.pieces(), path)
            case EndRun():
                self._end(main.client, run_id, operation)

    def _end(self, client: MlflowClient, run_id: str, operation: EndRun) -> None:
        if operation.if_running and client.get_run(run_id).info.status != "RUNNING":
            return
        if operation.tags:
            tags = LogBatch(search_id=operation.search_id, tags=operation.tags)
            calls.log_batch(client, run_id, tags)
        calls.set_status(client, run_id, operation.status, operation.end_ms)

    def _create(
        self,
        client: MlflowClient,
        experiment_id: str,
        operation: OpenMainRun | CreateChildRun,
        tags: dict[str, str],
        known: Known,
        again: bool,
    ) -> Any:
        """Make a run; on a second try look first whether the first one was made after all."""
        if again:
            known.keep({DOUBTFUL: "yes"})
            found = calls.find_run(client, experiment_id, *operation.run)
            if found is not None:
                return found
        return client.create_run(
            experiment_id, operation.start_ms, {**self._context(), **tags}, operation.name
        )

    def _kept(self, known: Known, candidate: int | None) -> str | None:
        """The run that stands for a candidate; of a main run of the user's there is no double."""
        if candidate is None:
            return known.get(RUN) if known.get(MADE) else None
        return known.get(run(candidate))

    def _context(self) -> dict[str, str]:
        """The tags that MLflow gives to each run: user, source, commit. Asked for once."""
        if self._context_tags is None:
            # Python reads bytes in the path of a program that are not UTF-8 as lone surrogates.
            self._context_tags = {
                limits.escaped(key): limits.escaped(str(value))
                for key, value in resolve_tags().items()
            }
        return self._context_tags

    def _client(self, uri: str) -> MlflowClient:
        whole = self._credentials.whole(uri)
        if whole not in self._clients:
            self._clients[whole] = calls.connect(whole)
        return self._clients[whole]


def _workspace(known: Known, operation: Operation | None = None) -> str | None:
    """The workspace of a search on its server; None if it has none."""
    if isinstance(operation, OpenMainRun):
        return operation.destination.workspace
    return known.stands(WORKSPACE) or None


def _is_left_out(operation: Operation, made: str | None) -> bool:
    """Whether an operation says again, of a search whose end is on its server, that it ended.

    Not the end of a run of ours that still says RUNNING: it may have failed, and let the end of the
    search go first.
    """
    if isinstance(operation, EndRun) and operation.if_running:
        return operation.of_recovery and operation.candidate is None and not made
    return operation.of_recovery and not isinstance(operation, CloseSearch)


def _asks_nothing(operation: Operation, made: str | None) -> bool:
    """Whether an operation is carried out without a look at what the server has."""
    match operation:
        case CreateChildRun():
            return True
        case LogBatch():
            # On a run of the user's, names may have to be settled first.
            return operation.candidate is not None or bool(made)
        case EndRun():
            return operation.candidate is not None and not operation.if_running
    return False


def _without_secrets(artifact_uri: str) -> str:
    """Where files go, as it may be kept on disk: nothing where it holds credentials."""
    return artifact_uri if stripped(artifact_uri) == artifact_uri else ""
