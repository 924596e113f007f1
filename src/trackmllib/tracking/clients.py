"""MLflow's clients, one for each tracking URI."""

from __future__ import annotations

from mlflow import MlflowClient

from trackmllib.tracking import client as calls
from trackmllib.tracking.credentials import Credentials
from trackmllib.tracking.sqlite_batch import StoreTransaction, store_transaction


class ClientPool:
    """Creates each client once, and again if the user gives other credentials."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._clients: dict[str, MlflowClient] = {}
        self._transactions: dict[str, StoreTransaction | None] = {}

    def client(self, uri: str) -> MlflowClient:
        """The client for a tracking URI without credentials."""
        full_uri = self._credentials.full_uri(uri)
        if full_uri not in self._clients:
            self._clients[full_uri] = calls.connect(full_uri)
        return self._clients[full_uri]

    def transaction(self, uri: str) -> StoreTransaction | None:
        """The transaction on a tracking store; None if the store allows none."""
        if uri not in self._transactions:
            self._transactions[uri] = store_transaction(self.client(uri), uri)
        return self._transactions[uri]
