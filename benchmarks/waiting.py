"""What a search costs that waits for its record: requests, and the server's own time for them."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from benchmarks import stub
from benchmarks.bench import Bench, Taken
from benchmarks.figures import OURS, PEER, UNTRACKED, Row, Spread, ratio
from benchmarks.stores import Incomplete, Store

REPEATS, SECONDS = 4, 55.0
PEER_REPEATS, PEER_SECONDS = 2, 20.0
_RUN_ID = re.compile(rb"[0-9a-f]{32}")


@dataclass(frozen=True)
class Request:
    """A request that the client has made, what came back, and when, as ``time.perf_counter()`` has
    it.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    answer: bytes
    answered: float


@contextmanager
def listening(heard: list[Request]) -> Iterator[None]:
    """All requests that this process makes meanwhile are added to ``heard``, in their order."""
    lock = threading.Lock()
    send = requests.Session.send

    def listening_send(self: Any, request: Any, **options: Any) -> Any:
        body = request.body or b""
        if hasattr(body, "read"):
            request.body = body = body.read()
        answer = send(self, request, **options)
        answered = time.perf_counter()
        parts = urlsplit(request.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        with lock:
            heard.append(
                Request(
                    request.method,
                    path,
                    dict(request.headers),
                    body.encode() if isinstance(body, str) else bytes(body),
                    answer.content,
                    answered,
                )
            )
        return answer

    requests.Session.send = listening_send  # type: ignore[method-assign]
    try:
        yield
    finally:
        requests.Session.send = send  # type: ignore[method-assign]


def waited_for(heard: list[Request], ended: float) -> list[Request]:
    """Those that were answered before ``fit()`` returned: what comes later, as the report, it does
    not wait for.
    """
    return [request for request in heard if request.answered <= ended]


def of_children(heard: list[Request]) -> int:
    """How many of the requests make a child run, or are about one."""
    children: set[bytes] = set()
    count = 0
    for request in heard:
        if request.path.endswith("/runs/create") and b"mlflow.parentRunId" in request.body:
            children.add(_RUN_ID.findall(request.answer)[0])
            count += 1
        else:
            count += not children.isdisjoint(_about(request))
    return count


def _about(request: Request) -> list[bytes]:
    """The run that a request is about. Other runs may be named in what it brings: a report names
    all of them.
    """
    named = _RUN_ID.findall(request.path.encode())
    with suppress(ValueError):
        said = json.loads(request.body or b"null")
        if isinstance(said, dict) and "run_id" in said:
            named.append(str(said["run_id"]).encode())
    return named


def replay(uri: str, heard: list[Request]) -> float:
    """Make the requests again from a bare client, one after the other on one connection; the
    seconds that took. The runs are new ones: their ids are put in the place of the old.
    """
    ids: dict[bytes, bytes] = {}

    def now(text: bytes) -> bytes:
        return _RUN_ID.sub(lambda found: ids.get(found[0], found[0]), text)

    upstream = urlsplit(uri)
    connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
    began = time.perf_counter()
    for request in heard:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("content-type", "accept")
        }
        path = now(request.path.encode()).decode()
        connection.request(request.method, path, now(request.body), headers)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            raise Incomplete(f"{request.method} {path}, made again: {answer.status} {data[:200]!r}")
        if path.endswith("/runs/create"):
            ids[_RUN_ID.findall(request.answer)[0]] = _RUN_ID.findall(data)[0]
    seconds = time.perf_counter() - began
    connection.close()
    return seconds


def measure(bench: Bench) -> Iterator[Row]:
    candidates = bench.pick(stub.CANDIDATES, stub.SMOKE_CANDIDATES)
    few = bench.pick(stub.PEER_CANDIDATES, stub.PEER_SMOKE_CANDIDATES)
    took: dict[str, list[float]] = {UNTRACKED: [], OURS: [], "server": []}
    counted: dict[str, list[float]] = {UNTRACKED: [], OURS: [], PEER: []}
    over: list[float] = []
    all_of_them: list[float] = []
    peers: dict[str, list[float]] = {UNTRACKED: [], PEER: []}
    with bench.server() as store:
        for variant, found, heard in _searches(
            bench, store, (UNTRACKED, OURS), candidates, REPEATS, SECONDS
        ):
            took[variant].append(found.seconds)
            counted[variant].append(of_children(heard) / candidates)
            if variant == OURS:
                all_of_them.append(len(heard) / candidates)
            if variant == OURS and bench.sampler is None:
                took["server"].append(replay(store.uri, waited_for(heard, found.ended)))
                over.append(found.seconds / max(took["server"][-1], took[UNTRACKED][-1]))
        if bench.sampler is not None:
            return
        for variant, found, heard in _searches(
            bench, store, (UNTRACKED, PEER), few, PEER_REPEATS, PEER_SECONDS
        ):
            peers[variant].append(found.seconds)
            if variant == PEER:
                counted[PEER].append(of_children(heard) / few)
    yield Row(
        name="requests",
        question="Stub, loopback server, waiting: requests a child",
        meaning="HTTP requests about child runs, from the start of the search until record and "
        "report are delivered, by the number of candidates; with those of the main run, ours are "
        f"{Spread.of(all_of_them).median:.2f}; {stub.PEERS}.",
        bound=3.0,
        unit="requests",
        value=Spread.of(counted[OURS]),
        rounds=len(counted[OURS]),
        measured={variant: Spread.of(values) for variant, values in counted.items()},
        measured_unit="requests",
    )
    yield Row(
        name="waiting",
        question="Stub, loopback server, waiting: over the server's own time",
        meaning="`fit()` with its wait for the record, against the floor: what the server needs "
        "for the requests that `fit()` waited for, or the search untracked, whichever is longer. "
        "What the server needs is measured after each search, by making again, from a bare client, "
        "all requests that were answered before `fit()` returned: one after the other, on one "
        f"connection, with nothing else running; {stub.PEERS}.",
        bound=1.2,
        value=Spread.of(over),
        rounds=len(over),
        measured={variant: Spread.of(values) for variant, values in took.items()},
        peer=ratio(peers[PEER], peers[UNTRACKED]),
    )


def _searches(
    bench: Bench,
    store: Store,
    variants: Sequence[str],
    candidates: int,
    repeats: int,
    seconds: float,
) -> Iterator[tuple[str, Taken, list[Request]]]:
    """The searches that count, in turn, and the requests of each until all was delivered."""
    data = bench.spark.range(10)
    for variant, counts in bench.in_turn(variants, repeats, seconds):
        heard: list[Request] = []
        found = bench.take(variant, stub.tuner(candidates), data, store, during=listening(heard))
        if counts:
            yield variant, found, heard
