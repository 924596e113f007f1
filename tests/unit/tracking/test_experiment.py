"""Experiments that are created for a new run."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from trackmllib.domain.operations import Destination
from trackmllib.tracking.client import experiment_id

pytestmark = pytest.mark.versions


class OvertakenClient(MlflowClient):
    """Another program creates the experiment between the look and the call."""

    def create_experiment(self, name, *args, **kwargs):
        self.made = MlflowClient(self.tracking_uri).create_experiment(name)
        return super().create_experiment(name, *args, **kwargs)


def test_experiment_created_by_two_programs_at_once_is_shared(sqlite_uri):
    client = OvertakenClient(sqlite_uri)
    found = experiment_id(client, Destination(tracking_uri=sqlite_uri, experiment_name="both"))
    assert found == client.made


def test_invalid_experiment_name_is_rejected(sqlite_uri):
    client = MlflowClient(sqlite_uri)
    gone = client.create_experiment("deleted")
    client.delete_experiment(gone)
    made = experiment_id(client, Destination(tracking_uri=sqlite_uri, experiment_name="deleted"))
    assert made == gone
    with pytest.raises(MlflowException, match="nvalid"):
        experiment_id(client, Destination(tracking_uri=sqlite_uri, experiment_name=""))
