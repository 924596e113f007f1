"""An HTTP proxy on loopback that does to requests what networks do, and counts them."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit


class Request(NamedTuple):
    """A request that the server has answered."""

    method: str
    path: str
    status: int


class Proxy:
    """Between a client and a server. ``rule`` is asked for each request, by its number from 1 on:

    * None: the request goes through;
    * a number: it is answered with this HTTP status, and the server never sees it;
    * ``"cut"``: the server answers, and the connection is cut before the client has the answer;
    * ``"vanish"``: the connection is accepted, and nothing ever comes back.

    ``delay`` is how many seconds each request takes longer; ``authorization`` what it must say of
    itself, or else it is answered with 401.
    """

    def __init__(self, server: str, rule: Callable[[int], int | str | None] = lambda _: None):
        self.rule = rule
        self.delay = 0.0
        self.authorization = ""
        self.answered: list[Request] = []
        self.closed = threading.Event()
        self._numbers = itertools.count(1)
        upstream = urlsplit(server)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else what is written in two parts arrives 40 ms later.
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                action = proxy.rule(next(proxy._numbers))
                wanted = proxy.authorization
                if action is None and wanted and self.headers.get("Authorization") != wanted:
                    action = 401
                if action == "vanish":
                    proxy.closed.wait(120)
                    self.close_connection = True
                    return
                if isinstance(action, int):
                    self._answer(action, [], b"the test says no")
                    return
                time.sleep(proxy.delay)
                connection = http.client.HTTPConnection(
                    upstream.hostname, upstream.port, timeout=60
                )
                try:
                    headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                    connection.request(self.command, self.path, body, headers)
                    answer = connection.getresponse()
                    data = answer.read()
                except OSError:
                    self.close_connection = True
                    return
                finally:
                    connection.close()
                proxy.answered.append(Request(self.command, self.path, answer.status))
                if action == "cut":
                    self.close_connection = True
                    return
                self._answer(answer.status, answer.getheaders(), data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def _answer(self, status: int, headers: list, data: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

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
