"""Gateway that limits the rate of requests to a tracking server.

    python -m benchmarks.fleet.gateway PORT SERVER_PORT RATE QUEUE MODE LOG

It acts like nginx with ``limit_req zone=all burst=QUEUE``:

* ``delay``: early requests wait for their turn, in order of arrival; when QUEUE of them wait, the
  next one is refused;
* ``refuse`` (``nodelay``): up to QUEUE early requests pass at once; the next one is refused, until
  the rate allows it again.

Refused requests get a 429 (``limit_req_status 429``) without ``Retry-After``, which nginx does not
send. During an outage of the server, requests get a 502. At most eight requests are at the server
at once, as with ``maxconn`` of HAProxy: more than fifteen wait for each other's connections to
MLflow's database (docs/explanation/scale.md).

SIGTERM ends the gateway.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

TOO_MANY, BAD_GATEWAY = 429, 502
_REASONS = {TOO_MANY: "Too Many Requests", BAD_GATEWAY: "Bad Gateway"}
_LONGEST_HEAD = 1 << 16
AT_ONCE = 8


class Limiter:
    """The leaky bucket of nginx; times are seconds of a monotonic clock."""

    def __init__(self, rate: float, queue: int, *, delay: bool) -> None:
        self._interval = 1.0 / rate
        self._queue = queue
        self._delay = delay
        self._next_turn = 0.0

    def admit(self, now: float) -> float | None:
        """Return the seconds that a request must wait; None if it is refused.

        A refused request takes no turn.
        """
        turn = max(self._next_turn, now)
        if turn - now > self._queue * self._interval + 1e-9:
            return None
        self._next_turn = turn + self._interval
        return turn - now if self._delay else 0.0


class LoggedRequest(NamedTuple):
    """A request at the gateway.

    Times of arrival and answer are of the machine's monotonic clock; ``served`` are the seconds
    that the server took.
    """

    came: float
    answered: float
    served: float
    who: str
    status: int
    call: str


def read_log(path: Path) -> list[LoggedRequest]:
    """Return the requests of a gateway, in the order of its answers."""
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return [
        LoggedRequest(float(r[0]), float(r[1]), float(r[2]), r[3], int(r[4]), r[5]) for r in rows
    ]


class _Gateway:
    def __init__(self, server_port: int, limiter: Limiter, log: Path) -> None:
        self._server_port = server_port
        self._limiter = limiter
        self._log = log.open("w")
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def serve(self, port: int) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        listening = await asyncio.start_server(
            self._talk, "127.0.0.1", port, limit=_LONGEST_HEAD, backlog=1024
        )
        await stop.wait()
        listening.close()
        self._log.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                came = time.monotonic()
                request, *lines = head.split("\r\n")
                headers = _headers(lines)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status, answer, served = await self._answer(request, headers, body)
                writer.write(answer)
                await writer.drain()
                self._note(came, served, headers, status, request)
        writer.close()

    async def _answer(
        self, request: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, float]:
        """Return the status, the answer, and the seconds that the server took."""
        wait = self._limiter.admit(time.monotonic())
        if wait is None:
            return _refusal(TOO_MANY)
        await asyncio.sleep(wait)
        try:
            async with self._at_once:
                began = time.monotonic()
                answer = await asyncio.wait_for(self._pass_on(request, headers, body), 60)
                served = time.monotonic() - began
        except (OSError, asyncio.TimeoutError):
            return _refusal(BAD_GATEWAY)
        head, found, content = answer.partition(b"\r\n\r\n")
        if not found:
            return _refusal(BAD_GATEWAY)
        first, *lines = head.decode("latin-1").split("\r\n")
        if len(content) < int(_headers(lines).get("content-length", 0)):
            # The server died during the request.
            return _refusal(BAD_GATEWAY)
        status = int(first.split()[1])
        kept = [it for it in lines if _name(it) not in ("content-length", "connection")]
        lines = [f"HTTP/1.1 {status} -", *kept, f"Content-Length: {len(content)}", "", ""]
        return status, "\r\n".join(lines).encode("latin-1") + content, served

    async def _pass_on(self, request: str, headers: dict[str, str], body: bytes) -> bytes:
        """Forward a request by HTTP/1.0 on its own connection, the default of nginx."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        try:
            line = request.replace("HTTP/1.1", "HTTP/1.0")
            kept = [f"{name}: {it}" for name, it in headers.items() if name != "connection"]
            writer.write("\r\n".join([line, *kept, "", ""]).encode("latin-1") + body)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()

    def _note(
        self, came: float, served: float, headers: dict[str, str], status: int, request: str
    ) -> None:
        method, path, _ = request.split(" ", 2)
        call = f"{method} {path.partition('?')[0]}"
        times = (f"{it:.6f}" for it in (came, time.monotonic(), served))
        print(*times, _user(headers), status, call, sep="\t", file=self._log)


def _name(line: str) -> str:
    return line.partition(":")[0].strip().lower()


def _headers(lines: list[str]) -> dict[str, str]:
    return {_name(line): line.partition(":")[2].strip() for line in lines if ":" in line}


def _user(headers: dict[str, str]) -> str:
    """Return the user name in the headers of a request."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        return "-"
    return base64.b64decode(encoded).decode().partition(":")[0]


def _refusal(status: int) -> tuple[int, bytes, float]:
    text = f"{status} {_REASONS[status]}"
    head = f"HTTP/1.1 {text}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n"
    return status, (head + text).encode(), 0.0


def main(port: str, server_port: str, rate: str, queue: str, mode: str, log: str) -> None:
    limiter = Limiter(float(rate), int(queue), delay=mode == "delay")
    asyncio.run(_Gateway(int(server_port), limiter, Path(log)).serve(int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
