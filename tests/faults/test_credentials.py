"""Credentials reach the server, and nothing else."""

from __future__ import annotations

import base64

import pytest

from faults.proxy import Proxy
from faults.scene import Scene, compare, finish

USER, PASSWORD = "me", "s3cr3t"
HEADER = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
def proxy(server_uri):
    made = Proxy(server_uri)
    made.authorization = HEADER
    yield made
    made.close()


def everything_in(scene: Scene) -> bytes:
    return b"".join(path.read_bytes() for path in scene.folder.rglob("*") if path.is_file())


def test_credentials_in_the_uri_are_used_and_not_written_down(tmp_path, proxy, server_uri):
    whole = proxy.uri.replace("://", f"://{USER}:{PASSWORD}@")
    scene = Scene(tmp_path, whole, real_uri=server_uri)
    proxy.rule = lambda _: 503
    driver = scene.driver(candidates=3, autolog={"flush_timeout": 1}).finish()
    (search,) = scene.status()["searches"]
    assert search["server"] == proxy.uri
    assert PASSWORD.encode() not in everything_in(scene)
    proxy.rule = lambda _: None

    scene.uri = proxy.uri
    said = scene.sync("--timeout", "20", code=1)
    assert "MLFLOW_TRACKING_USERNAME" in said
    assert scene.status()["searches"][0]["waiting"] == search["waiting"]

    said = scene.sync("--server", whole)
    assert PASSWORD not in said
    report = compare(scene.store, driver)
    assert report.is_clean(), report
    runs = scene.store.runs()
    assert len(runs) == 4
    assert PASSWORD not in "".join(str(run.to_dictionary()) for run in runs)
    assert scene.files() == []


def test_credentials_in_mlflows_variables_are_used(tmp_path, proxy, server_uri):
    scene = Scene(tmp_path, proxy.uri, real_uri=server_uri)
    scene.more_environ = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    driver = scene.driver(candidates=3, autolog={"flush_timeout": 60}).finish()
    assert compare(scene.store, driver).is_clean()
    assert driver.warnings() == []
    assert PASSWORD.encode() not in everything_in(scene)
    out, _ = finish(scene.command("status"), 0)
    assert out == "Nothing is left on disk: every search is on its server.\n"
