"""Makes a server seem far away: ``python -m benchmarks.far URI`` prints the address to ask instead.

Each line on the standard input is how many seconds each request takes longer from then on.
"""

from __future__ import annotations

import sys

from faults.proxy import Proxy


def main(uri: str) -> None:
    proxy = Proxy(uri)
    print(proxy.uri, flush=True)
    for line in sys.stdin:
        proxy.delay = float(line)
        print(line, end="", flush=True)
    proxy.close()


if __name__ == "__main__":
    main(sys.argv[1])
