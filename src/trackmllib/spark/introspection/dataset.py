"""Description of a DataFrame, without a Spark job."""

from __future__ import annotations

import hashlib
import posixpath
from typing import Any
from urllib.parse import urlsplit

from trackmllib.domain.descriptions import Dataset
from trackmllib.support.guard import attempt
from trackmllib.support.redaction import redact_credentials


def describe_dataset(data: Any) -> Dataset:
    """Describe a DataFrame by a digest and the path that it is read from.

    Like MLflow's, the digest covers the columns and the plan but no rows: equal plans on equal
    sources count as equal data.
    """
    plan = attempt(lambda: str(data.semanticHash()), "")
    columns = attempt(lambda: str(data.dtypes), "")
    digest = hashlib.md5(f"{plan}\n{columns}".encode(), usedforsecurity=False).hexdigest()
    return Dataset(digest=digest[:8], path=attempt(lambda: _folder(data.inputFiles()), None))


def describe_columns(data: Any) -> tuple[tuple[str, str], ...]:
    """Names and types of the columns; empty if they cannot be read."""
    return attempt(lambda: tuple((str(name), str(kind)) for name, kind in data.dtypes), ())


def _folder(files: list[str]) -> str | None:
    """The one file, or the folder that all files are in."""
    if not files:
        return None
    if len(files) == 1:
        return redact_credentials(files[0])
    common = posixpath.commonprefix([file.rpartition("/")[0] + "/" for file in files])
    folder = common.rpartition("/")[0]
    parts = urlsplit(folder)
    return redact_credentials(folder) if parts.netloc or parts.path.strip("/") else None
