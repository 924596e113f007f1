"""Cost of waiting for delivery: requests, and the server's own time for them."""

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

from benchmarks import fit_overhead
from benchmarks.measurement import Bench, Measurement
from benchmarks.ratios import OURS, PEER, UNTRACKED, Row, Spread, ratio
from benchmarks.stores import Incomplete, Store

REPEATS, SECONDS = 4, 55.0
PEER_REPEATS, PEER_SECONDS = 2, 20.0
_RUN_ID = re.compile(rb"[0-9a-f]{32}")


@dataclass(frozen=True)
class Request:
    """A request of the client and its answer; times are of ``time.perf_counter()``."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    answer: bytes
    answered: float


@contextmanager
def capturing(sent: list[Request]) -> Iterator[None]:
    """Append all requests of this process to ``sent`` during the block."""
    lock = threading.Lock()
    send = requests.Session.send

    def capturing_send(self: Any, request: Any, **options: Any) -> Any:
        body = request.body or b""
        if hasattr(body, "read"):
            request.body = body = body.read()
        answer = send(self, request, **options)
        answered = time.perf_counter()
        parts = urlsplit(request.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        with lock:
            sent.append(
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

    requests.Session.send = capturing_send  # type: ignore[method-assign]
    try:
        yield
    finally:
        requests.Session.send = send  # type: ignore[method-assign]


def answered_before(sent: list[Request], ended: float) -> list[Request]:
    """Return the requests answered before ``fit()`` returned; it does not wait for the rest."""
    return [request for request in sent if request.answered <= ended]


def count_child_requests(sent: list[Request]) -> int:
    """Count the requests that create or change a child run."""
    children: set[bytes] = set()
    count = 0
    for request in sent:
        if request.path.endswith("/runs/create") and b"mlflow.parentRunId" in request.body:
            children.add(_RUN_ID.findall(request.answer)[0])
            count += 1
        else:
            count += not children.isdisjoint(_about(request))
    return count


def _about(request: Request) -> list[bytes]:
    """Return the run that a request changes; its body may name others, as a report does."""
    named = _RUN_ID.findall(request.path.encode())
    with suppress(ValueError):
        body = json.loads(request.body or b"null")
        if isinstance(body, dict) and "run_id" in body:
            named.append(str(body["run_id"]).encode())
    return named


def replay(uri: str, sent: list[Request]) -> float:
    """Repeat the requests from a bare client on one connection; return the seconds.

    The server creates new runs, whose ids replace the old ones.
    """
    ids: dict[bytes, bytes] = {}

    def now(text: bytes) -> bytes:
        return _RUN_ID.sub(lambda found: ids.get(found[0], found[0]), text)

    upstream = urlsplit(uri)
    connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
    began = time.perf_counter()
    for request in sent:
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
    candidates = bench.pick(fit_overhead.CANDIDATES, fit_overhead.SMOKE_CANDIDATES)
    few = bench.pick(fit_overhead.PEER_CANDIDATES, fit_overhead.PEER_SMOKE_CANDIDATES)
    took: dict[str, list[float]] = {UNTRACKED: [], OURS: [], "server": []}
    counted: dict[str, list[float]] = {UNTRACKED: [], OURS: [], PEER: []}
    over: list[float] = []
    all_of_them: list[float] = []
    peers: dict[str, list[float]] = {UNTRACKED: [], PEER: []}
    with bench.server() as store:
        for variant, found, sent in _searches(
            bench, store, (UNTRACKED, OURS), candidates, REPEATS, SECONDS
        ):
            took[variant].append(found.seconds)
            counted[variant].append(count_child_requests(sent) / candidates)
            if variant == OURS:
                all_of_them.append(len(sent) / candidates)
            if variant == OURS and bench.sampler is None:
                took["server"].append(replay(store.uri, answered_before(sent, found.ended)))
                over.append(found.seconds / max(took["server"][-1], took[UNTRACKED][-1]))
        if bench.sampler is not None:
            return
        for variant, found, sent in _searches(
            bench, store, (UNTRACKED, PEER), few, PEER_REPEATS, PEER_SECONDS
        ):
            peers[variant].append(found.seconds)
            if variant == PEER:
                counted[PEER].append(count_child_requests(sent) / few)
    yield Row(
        name="requests",
        question="Stub, loopback server, waiting: requests a child",
        meaning="HTTP requests about child runs, from the start of the search until record and "
        "report are delivered, by the number of candidates; with those of the parent run, ours are "
        f"{Spread.of(all_of_them).median:.2f}; {fit_overhead.PEERS}.",
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
        f"connection, with nothing else running; {fit_overhead.PEERS}.",
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
) -> Iterator[tuple[str, Measurement, list[Request]]]:
    """Yield the counted searches and their requests until delivery."""
    data = bench.spark.range(10)
    for variant, counts in bench.in_turn(variants, repeats, seconds):
        sent: list[Request] = []
        found = bench.take(
            variant, fit_overhead.tuner(candidates), data, store, during=capturing(sent)
        )
        if counts:
            yield variant, found, sent
