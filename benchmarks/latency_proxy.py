"""Proxy that adds latency to a tracking server.

``python -m benchmarks.latency_proxy URI`` prints the address of the proxy. Each line on standard
input is the number of seconds that it adds to each request from then on.
"""

from __future__ import annotations

import sys

from support.faulty_proxy import Proxy


def main(uri: str) -> None:
    proxy = Proxy(uri)
    print(proxy.uri, flush=True)
    for line in sys.stdin:
        proxy.delay = float(line)
        print(line, end="", flush=True)
    proxy.close()


if __name__ == "__main__":
    main(sys.argv[1])
