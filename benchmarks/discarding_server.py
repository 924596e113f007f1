"""Tracking server that counts and discards what it receives.

``python -m benchmarks.discarding_server`` prints its address. Ten thousand runs would keep MLflow's
server busy for minutes, and the benchmarks measure the search and its client.
"""

from __future__ import annotations

import json
import sys
import threading
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COUNTS = "/counts"


class Counts:
    """Counts of runs by status, child runs, and points by metric."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.numbers: Counter[str] = Counter()

    def take(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Count a request and return its answer."""
        with self.lock:
            match path.rpartition("/mlflow/")[2]:
                case "runs/create":
                    self.numbers["runs"] += 1
                    tags = {tag["key"] for tag in payload.get("tags", ())}
                    self.numbers["children"] += "mlflow.parentRunId" in tags
                    return {"run": _run(uuid.uuid4().hex, payload)}
                case "runs/update":
                    self.numbers[f"ended {payload.get('status')}"] += 1
                    return {"run_info": _run(payload["run_id"], payload)["info"]}
                case "runs/log-batch":
                    self.numbers.update(metric["key"] for metric in payload.get("metrics", ()))
                case "runs/get":
                    return {"run": _run(payload["run_id"], payload)}
                case "experiments/create":
                    self.numbers.clear()
                    return {"experiment_id": "1"}
                case "experiments/get-by-name" | "experiments/get":
                    return {"experiment": _EXPERIMENT}
            return {}


_EXPERIMENT = {
    "experiment_id": "1",
    "name": "taken",
    "artifact_location": "mlflow-artifacts:/1",
    "lifecycle_stage": "active",
}


def _run(run_id: str, payload: dict[str, Any]) -> dict[str, Any]:
    info = {
        "run_id": run_id,
        "run_uuid": run_id,
        "run_name": payload.get("run_name", ""),
        "experiment_id": "1",
        "user_id": "",
        "status": "RUNNING",
        "start_time": payload.get("start_time", 0),
        "lifecycle_stage": "active",
        "artifact_uri": f"mlflow-artifacts:/1/{run_id}/artifacts",
    }
    return {"info": info, "data": {"tags": payload.get("tags", [])}, "inputs": {}}


def main() -> None:
    counts = Counts()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Otherwise each small answer waits for the acknowledgement of the previous one.
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            if parts.path == COUNTS:
                answer: dict[str, Any] = dict(counts.numbers)
            else:
                is_json = self.headers.get("Content-Type", "").startswith("application/json")
                payload = json.loads(body) if is_json and body else {}
                payload.update(part.split("=", 1) for part in parts.query.split("&") if "=" in part)
                answer = counts.take(parts.path, payload)
            data = json.dumps(answer).encode()
            self.send_response_only(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Standard input closes when the parent process ends.
    sys.stdin.read()


if __name__ == "__main__":
    main()
