"""Where Spark shows the jobs of an application: its own page, and that of the history server."""

from __future__ import annotations

from typing import Any

from trackmllib.guard import attempt
from trackmllib.redaction import stripped

YARN_HISTORY = "spark.yarn.historyServer.address"


def pages(dataset: Any, history_server: str | None) -> tuple[str | None, str | None]:
    """The address of the application's page while it runs, and the one after it; None where Spark
    has none, or does not say it (on Spark Connect).

    The second one is on ``history_server``, or else on the one that YARN's conf names.
    """
    context = attempt(lambda: dataset.sparkSession.sparkContext, None)
    if context is None:
        return None, None
    server = history_server or attempt(lambda: context.getConf().get(YARN_HISTORY), None)
    return attempt(lambda: context.uiWebUrl, None), _in_history(server, context.applicationId)


def _in_history(server: str | None, application_id: str) -> str | None:
    if not server:
        return None
    address = stripped(server if "://" in server else f"http://{server}").partition("?")[0]
    return f"{address.rstrip('/')}/history/{application_id}/"
