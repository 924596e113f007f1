"""Credentials of tracking URIs: kept in memory, added again when a server is called."""

from __future__ import annotations

import os

from trackmllib.redaction import stripped

VARIABLES = (
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN "
    "(on Databricks: DATABRICKS_HOST and DATABRICKS_TOKEN)"
)


class Credentials:
    """Knows the whole URI of each server that this process was told of."""

    def __init__(self) -> None:
        self._whole: dict[str, str] = {}

    def strip(self, uri: str) -> str:
        """The URI as it may be written down; the whole one is known from now on."""
        short = stripped(uri)
        if short != uri:
            self._whole[short] = uri
        return short

    def whole(self, uri: str) -> str:
        """The URI with its credentials: as given to ``strip`` or else in MLFLOW_TRACKING_URI."""
        if uri in self._whole:
            return self._whole[uri]
        named = os.environ.get("MLFLOW_TRACKING_URI", "")
        return named if stripped(named) == uri else uri
