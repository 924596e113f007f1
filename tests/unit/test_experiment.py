"""The experiment of a new run, when it does not exist yet."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from trackmllib.operations import Destination
from trackmllib.tracking.client import experiment_id


class Overtaken(MlflowClient):
    """Somebody else makes the experiment between our look and our call."""

    def create_experiment(self, name, *args, **kwargs):
        self.made = MlflowClient(self.tracking_uri).create_experiment(name)
        return super().create_experiment(name, *args, **kwargs)


def test_two_programs_that_make_an_experiment_at_once_share_it(sqlite_uri):
    client = Overtaken(sqlite_uri)
    found = experiment_id(client, Destination(tracking_uri=sqlite_uri, experiment_name="both"))
    assert found == client.made


def test_a_name_that_mlflow_refuses_is_refused(sqlite_uri):
    client = MlflowClient(sqlite_uri)
    gone = client.create_experiment("deleted")
    client.delete_experiment(gone)
    made = experiment_id(client, Destination(tracking_uri=sqlite_uri, experiment_name="deleted"))
    assert made == gone
    with pytest.raises(MlflowException, match="nvalid"):
        experiment_id(client, Destination(tracking_uri=sqlite_uri, experiment_name=""))
