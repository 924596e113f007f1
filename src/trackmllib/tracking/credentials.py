"""Credentials in tracking URIs, kept only in memory."""

from __future__ import annotations

import os

from trackmllib.support.redaction import strip_credentials

VARIABLES = (
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN "
    "(on Databricks: DATABRICKS_HOST and DATABRICKS_TOKEN)"
)


class Credentials:
    """Full tracking URIs, by the URI without credentials."""

    def __init__(self) -> None:
        self._full_uris: dict[str, str] = {}

    def strip(self, uri: str) -> str:
        """Remove the credentials from a URI, and remember them."""
        short = strip_credentials(uri)
        if short != uri:
            self._full_uris[short] = uri
        return short

    def full_uri(self, uri: str) -> str:
        """Add the credentials of ``strip``, or else of MLFLOW_TRACKING_URI."""
        if uri in self._full_uris:
            return self._full_uris[uri]
        named = os.environ.get("MLFLOW_TRACKING_URI", "")
        return named if strip_credentials(named) == uri else uri
