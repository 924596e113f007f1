"""Credentials are sent to the server and stored nowhere."""

from __future__ import annotations

import base64

import pytest

from support.driver_machine import Machine, compare, finish
from support.faulty_proxy import Proxy

USER, PASSWORD = "me", "s3cr3t"
HEADER = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture
def proxy(server_uri):
    made = Proxy(server_uri)
    made.authorization = HEADER
    yield made
    made.close()


def everything_in(machine: Machine) -> bytes:
    return b"".join(path.read_bytes() for path in machine.folder.rglob("*") if path.is_file())


def test_credentials_in_the_uri_are_used_but_not_stored(tmp_path, proxy, server_uri):
    whole = proxy.uri.replace("://", f"://{USER}:{PASSWORD}@")
    machine = Machine(tmp_path, whole, real_uri=server_uri)
    proxy.rule = lambda _: 503
    driver = machine.driver(candidates=3, autolog={"flush_timeout": 1}).finish()
    (search,) = machine.status()["searches"]
    assert search["tracking_uri"] == proxy.uri
    assert PASSWORD.encode() not in everything_in(machine)
    proxy.rule = lambda _: None

    machine.uri = proxy.uri
    printed = machine.sync("--timeout", "20", code=1)
    assert "MLFLOW_TRACKING_USERNAME" in printed
    assert machine.status()["searches"][0]["waiting"] == search["waiting"]

    printed = machine.sync("--tracking-uri", whole)
    assert PASSWORD not in printed
    report = compare(machine.store, driver)
    assert report.is_clean(), report
    runs = machine.store.runs()
    assert len(runs) == 4
    assert PASSWORD not in "".join(str(run.to_dictionary()) for run in runs)
    assert machine.files() == []


def test_credentials_in_mlflows_variables_are_used(tmp_path, proxy, server_uri):
    machine = Machine(tmp_path, proxy.uri, real_uri=server_uri)
    machine.more_environ = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    driver = machine.driver(candidates=3, autolog={"flush_timeout": 60}).finish()
    assert compare(machine.store, driver).is_clean()
    assert driver.warnings() == []
    assert PASSWORD.encode() not in everything_in(machine)
    out, _ = finish(machine.command("status"), 0)
    assert out == "Nothing is left on disk: every search is on its server.\n"
