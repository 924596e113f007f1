"""Artifacts that the driver uploads to S3: at process exit, and without list permission."""

from __future__ import annotations

import json
import sys
import urllib.request

import boto3
import pytest
from mlflow.store.artifact.s3_artifact_repo import _cached_get_s3_client

from support.driver_machine import Machine
from support.mlflow_reader import Store
from trackmllib.domain.operations import Destination, EndRun, LogArtifact, OpenParentRun
from trackmllib.outbox.memory import MemoryOutbox
from trackmllib.tracking.executor import MlflowExecutor

# Exits right after its search, before the report is created and artifacts are uploaded.
PROGRAM = """
import sys, threading
sys.path[:0] = {paths!r}
import mlflow, trackmllib
from support.search_events import search
from trackmllib.api.autolog import autolog
import importlib

trackmllib.autolog(wait=False, progress=False, flush_timeout=60)
session = importlib.import_module("trackmllib.api.autolog")._session
for event in search([[0.1, 0.2], [0.8, 0.9]], [0.15, 0.85], best=1):
    session.callbacks.emit(event)
"""


@pytest.fixture
def machine(tmp_path, s3_deployment, monkeypatch) -> Machine:
    for name, value in s3_deployment.environ.items():
        monkeypatch.setenv(name, value)
    environ = {**s3_deployment.environ, "TRACKMLLIB_REPORT": "true"}
    made = Machine(tmp_path, s3_deployment.uri, more_environ=environ)
    made.store.client.create_experiment(made.experiment, f"{s3_deployment.files}/{made.experiment}")
    return made


def test_artifacts_and_report_reach_s3_at_process_end(machine, s3):
    program = PROGRAM.format(paths=[path for path in sys.path if path.endswith("tests")])
    driver = machine.program(sys.executable, "-c", program)
    assert driver.process.wait(120) == 0
    run = machine.store.only_parent_run()
    assert run.info.status == "FINISHED"
    prefix = run.info.artifact_uri.removeprefix(f"s3://{s3.bucket}/")
    files = s3.files(f"{prefix}/trackmllib/")
    assert sorted(files) == [
        *("best_params.json", "outcome.json", "report.html", "report.png", "results.csv"),
        "search.json",
    ]
    assert machine.files() == []


@pytest.fixture
def keys_that_may_only_write(s3, s3_deployment, monkeypatch):
    """Credentials of a user with permission to read and write objects, but not to list."""
    endpoint = s3.environ["MLFLOW_S3_ENDPOINT_URL"]
    own = {
        "endpoint_url": endpoint,
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "region_name": "us-east-1",
    }
    iam = boto3.client("iam", **own)
    iam.create_user(UserName="writer")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": "*"}
        ],
    }
    iam.put_user_policy(UserName="writer", PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="writer")["AccessKey"]
    keys = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    for name, value in {**s3_deployment.environ, **keys}.items():
        monkeypatch.setenv(name, value)
    # Both cache the first credentials that they use.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    _cached_get_s3_client.cache_clear()
    _check_permissions(endpoint, after=0)
    yield
    _cached_get_s3_client.cache_clear()
    _check_permissions(endpoint, after=10**9)


def _check_permissions(endpoint: str, after: int) -> None:
    request = urllib.request.Request(
        f"{endpoint}/moto-api/reset-auth",
        data=str(after).encode(),
        headers={"Content-Type": "text/plain"},
    )
    urllib.request.urlopen(request, timeout=10).read()


def test_users_run_is_recorded_without_list_permission(
    s3_deployment, s3, keys_that_may_only_write, request
):
    store = Store(s3_deployment.uri, request.node.name)
    experiment = store.client.create_experiment(store.experiment, f"{s3_deployment.files}/nolist")
    run = store.client.create_run(experiment)
    tracking = MlflowExecutor(pytest.fail, MemoryOutbox())
    destination = Destination(
        tracking_uri=s3_deployment.uri,
        run_id=run.info.run_id,
        experiment_id=experiment,
        owned=False,
    )
    for operation in (
        OpenParentRun(search_id="s", destination=destination, name="n", start_ms=1),
        LogArtifact(search_id="s", file_name="search.json", text="{}"),
        EndRun(search_id="s", status="FINISHED", end_ms=2),
    ):
        tracking.apply(operation)
    prefix = run.info.artifact_uri.removeprefix(f"s3://{s3.bucket}/")
    _check_permissions(s3.environ["MLFLOW_S3_ENDPOINT_URL"], after=10**9)
    assert s3.files(f"{prefix}/") == {"trackmllib_s/search.json": b"{}"}
