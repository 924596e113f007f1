"""What a search costs that waits for its record: requests, and the server's own time for them."""

from __future__ import annotations

import http.client
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from benchmarks import stub
from benchmarks.bench import Bench
from benchmarks.figures import OURS, UNTRACKED, Row, Spread
from benchmarks.stores import Incomplete

REPEATS, SECONDS = 4, 90.0
_RUN_ID = re.compile(rb"[0-9a-f]{32}")


@dataclass(frozen=True)
class Request:
    """A request that the client has made, and what came back."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    answer: bytes


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
                )
            )
        return answer

    requests.Session.send = listening_send  # type: ignore[method-assign]
    try:
        yield
    finally:
        requests.Session.send = send  # type: ignore[method-assign]


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
    data = bench.spark.range(10)
    counted: list[float] = []
    took: dict[str, list[float]] = {UNTRACKED: [], OURS: [], "server": []}
    over: list[float] = []
    with bench.server() as store:
        for variant, counts in bench.in_turn((UNTRACKED, OURS), REPEATS, SECONDS):
            heard: list[Request] = []
            found = bench.take(
                variant, stub.tuner(candidates), data, store, during=listening(heard)
            )
            if counts:
                took[variant].append(found.seconds)
            if variant == OURS and counts and bench.sampler is None:
                # What came after the end of fit(), the report, is one of the requests too.
                counted.append(len(heard) / candidates)
                took["server"].append(replay(store.uri, heard))
                over.append(found.seconds / max(took["server"][-1], took[UNTRACKED][-1]))
    if bench.sampler is not None:
        return
    yield Row(
        name="requests",
        question="Stub, loopback server, waiting: requests a child",
        meaning="All HTTP requests of the process, from the start of the search until record and "
        "report are delivered, by the number of candidates.",
        bound=3.0,
        unit="requests",
        value=Spread.of(counted),
        rounds=len(counted),
    )
    yield Row(
        name="waiting",
        question="Stub, loopback server, waiting: over the server's own time",
        meaning="`fit()` with its wait for the record, against the floor: what the server needs "
        "for the same requests, or the search untracked, whichever is longer. What the server "
        "needs is measured after each search, by making all its requests again from a bare "
        "client: one after the other, on one connection, with nothing else running.",
        bound=1.2,
        value=Spread.of(over),
        rounds=len(over),
        measured={variant: Spread.of(values) for variant, values in took.items()},
    )
