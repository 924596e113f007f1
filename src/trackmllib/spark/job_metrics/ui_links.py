"""Addresses of an application in the Spark UI and the history server."""

from __future__ import annotations

from typing import Any

from trackmllib.support.guard import attempt
from trackmllib.support.redaction import strip_credentials

YARN_HISTORY = "spark.yarn.historyServer.address"


def ui_links(dataset: Any, history_server: str | None) -> tuple[str | None, str | None]:
    """Addresses of the application in the Spark UI and the history server.

    Each is None if it does not exist; on Spark Connect neither does. Without ``history_server``,
    the history server is that of YARN's conf.
    """
    context = attempt(lambda: dataset.sparkSession.sparkContext, None)
    if context is None:
        return None, None
    server = history_server or attempt(lambda: context.getConf().get(YARN_HISTORY), None)
    return attempt(lambda: context.uiWebUrl, None), _in_history(server, context.applicationId)


def _in_history(server: str | None, application_id: str) -> str | None:
    if not server:
        return None
    address = strip_credentials(server if "://" in server else f"http://{server}").partition("?")[0]
    return f"{address.rstrip('/')}/history/{application_id}/"
