"""Paths in SQLite URIs, parsed as SQLAlchemy parses them."""

from __future__ import annotations

from pathlib import Path


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI; None if in memory, and for any other URI.

    Versions of SQLAlchemy differ: 2.1 unquotes the path, 2.0 does not.
    """
    if not uri.startswith("sqlite"):
        return None
    try:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        # MLflow has no SQLite store without SQLAlchemy.
        return None
    try:
        path = make_url(uri).database
    except ArgumentError:
        return None
    if not path or path.startswith((":memory:", "file:")):
        return None
    return Path(path)
