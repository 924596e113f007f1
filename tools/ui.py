"""Shows the MLflow UI on the demo's runs until Ctrl-C."""

from __future__ import annotations

import signal

import server

if __name__ == "__main__":
    try:
        with server.running() as url:
            print(f"the MLflow UI is at {url} (Ctrl-C ends it).", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print()
