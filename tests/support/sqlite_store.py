"""SQLite databases of MLflow, ready to use.

MLflow takes a second of CPU to create a database: it runs every migration of its history. The
tests create a hundred of them, so they copy one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import mlflow

_TEMPLATE = Path(sys.prefix) / f"mlflow-{mlflow.__version__}.db"


def sqlite_store(folder: Path, name: str = "mlflow.db") -> str:
    """The tracking URI of a new SQLite store in this folder, with no experiment but MLflow's."""
    if not _TEMPLATE.exists():
        _make_template()
    shutil.copyfile(_TEMPLATE, folder / name)
    return f"sqlite:///{folder / name}"


def _make_template() -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    made = _TEMPLATE.with_suffix(f".{os.getpid()}")
    SqlAlchemyStore(f"sqlite:///{made}", "mlruns").engine.dispose()
    with closing(sqlite3.connect(made)) as database:
        # The default experiment stores its artifact folder, so each copy creates its own.
        database.execute("DELETE FROM experiments")
        database.commit()
    made.replace(_TEMPLATE)
