"""First connection to a tracking store that is a database.

MLflow tries ten times to connect, for a minute and a half, or for minutes each time if a host drops
packets. trackmllib's own calls try once, with the timeout of its other requests.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from trackmllib.support.patching import Patch, SharedPatches
from trackmllib.tracking.http import connect_timeout

_DATABASES = ("postgresql", "mysql", "mariadb", "mssql", "sqlite")
# Drivers with the option connect_timeout, in seconds.
_WITH_TIMEOUT = ("psycopg2", "psycopg", "pymysql", "mysqldb")


@contextmanager
def connected_once(uri: str) -> Iterator[None]:
    """Have MLflow connect only once while it creates a client."""
    scheme = uri.partition("://")[0].partition("+")[0]
    with _patches() if scheme in _DATABASES else nullcontext():
        yield


@functools.lru_cache(maxsize=1)
def _patches() -> SharedPatches:
    # SQLAlchemy may be missing: mlflow-skinny does not need it.
    from mlflow.store.db import utils

    return SharedPatches([Patch(utils, "create_sqlalchemy_engine_with_retry", _connect)])


def _connect(original: Any, uri: str) -> Any:
    timeout = connect_timeout()
    if not timeout:
        return original(uri)
    import sqlalchemy
    from mlflow.store.db import utils

    url = sqlalchemy.engine.make_url(uri)
    if url.get_driver_name() in _WITH_TIMEOUT and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(timeout)})
    engine = utils.create_sqlalchemy_engine(url.render_as_string(hide_password=False))
    sqlalchemy.inspect(engine)
    return engine
