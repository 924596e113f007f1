"""HTTP proxy on loopback that counts requests and disturbs them as networks and gateways do."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

PAGE = b"<!doctype html><html><body><h1>Sign in</h1></body></html>"
# Where a redirect leads to a page, and where one leads to the server.
LOGIN, MOVED = "/login", "/moved"
SLOW_SECONDS = 1.0
STALL_SECONDS = 20.0


class Request(NamedTuple):
    """A request that the server has answered."""

    method: str
    path: str
    status: int


@dataclass(frozen=True)
class Answer:
    """An answer of the proxy itself. ``reaches_server``: the server gets the request first."""

    status: int
    body: bytes = PAGE
    content_type: str = "text/html"
    location: str = ""
    reaches_server: bool = False


Action: TypeAlias = "Answer | int | str | None"


class Proxy:
    """A proxy between client and server that disturbs requests.

    For each request, ``rule`` gets its number, from 1 on, ``disturb`` its method and path, and
    ``disturb_body`` its path and body. The first action that is not None applies:

    * None: the request goes through;
    * a number: it is answered with this HTTP status, and the server never sees it;
    * an ``Answer``: it gets this answer;
    * ``"refuse"``: the connection is cut, and the server never sees the request;
    * ``"cut"``: the server answers, and the connection is cut before the client has the answer;
    * ``"tear"``: the connection is cut in the middle of the server's answer;
    * ``"halve"``: half of the server's answer arrives as a complete one;
    * ``"slow"``: the server's answer takes a second from its first byte to its last;
    * ``"stall"``: half of the server's answer arrives, and then nothing;
    * ``"vanish"``: the connection is accepted and never answered.

    ``delay`` is added to each request, in seconds. A request without the header ``authorization``
    is answered with 401. ``uploaded`` has the last body sent to each path with PUT. Requests below
    ``MOVED`` reach the server undisturbed; ``LOGIN`` is a page.
    """

    def __init__(self, server: str, rule: Callable[[int], Action] = lambda _: None):
        self.rule = rule
        self.disturb: Callable[[str, str], Action] = lambda _method, _path: None
        self.disturb_body: Callable[[str, bytes], Action] = lambda _path, _body: None
        self.delay = 0.0
        self.authorization = ""
        self.answered: list[Request] = []
        self.uploaded: dict[str, bytes] = {}
        self.closed = threading.Event()
        self._numbers = itertools.count(1)
        upstream = urlsplit(server)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Otherwise an answer written in two parts arrives 40 ms later.
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                action = proxy.rule(next(proxy._numbers))
                path = self.path
                if path.startswith(LOGIN):
                    self._answer(200, [("Content-Type", "text/html")], PAGE)
                    return
                if path.startswith(MOVED):
                    path = path.removeprefix(MOVED)
                elif action is None:
                    action = proxy.disturb(self.command, path)
                    action = proxy.disturb_body(path, body) if action is None else action
                if self.command == "PUT":
                    proxy.uploaded[path] = body
                wanted = proxy.authorization
                if action is None and wanted and self.headers.get("Authorization") != wanted:
                    action = 401
                if isinstance(action, int):
                    action = Answer(action, b"the test says no", "text/plain")
                if action == "vanish":
                    proxy.closed.wait(120)
                if action in ("vanish", "refuse"):
                    self.close_connection = True
                elif not isinstance(action, Answer):
                    self._pass_on(path, body, action)
                elif not action.reaches_server or self._ask(path, body) is not None:
                    headers = [("Content-Type", action.content_type)]
                    if action.location:
                        headers.append(("Location", action.location))
                    self._answer(action.status, headers, action.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def _ask(self, path: str, body: bytes) -> tuple[int, list, bytes] | None:
                """Return the server's answer, or close the connection and return None."""
                time.sleep(proxy.delay)
                connection = http.client.HTTPConnection(
                    upstream.hostname, upstream.port, timeout=60
                )
                try:
                    headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                    connection.request(self.command, path, body, headers)
                    answer = connection.getresponse()
                    data = answer.read()
                except OSError:
                    self.close_connection = True
                    return None
                finally:
                    connection.close()
                proxy.answered.append(Request(self.command, path, answer.status))
                return answer.status, answer.getheaders(), data

            def _pass_on(self, path: str, body: bytes, action: str | None) -> None:
                answer = self._ask(path, body)
                if answer is None:
                    return
                status, headers, data = answer
                if action == "cut":
                    self.close_connection = True
                    return
                half = len(data) // 2
                if action == "halve":
                    data = data[:half]
                parts = [data] if action in (None, "halve") else [data[:half], data[half:]]
                self._answer(status, headers, parts[0], length=len(data))
                if action == "slow":
                    proxy.closed.wait(SLOW_SECONDS)
                    self.wfile.write(parts[1])
                elif action == "stall":
                    proxy.closed.wait(STALL_SECONDS)
                if action in ("tear", "stall"):
                    self.close_connection = True

            def _answer(
                self, status: int, headers: list, data: bytes, length: int | None = None
            ) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data) if length is None else length))
                self.end_headers()
                self.wfile.write(data)
                self.wfile.flush()

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
