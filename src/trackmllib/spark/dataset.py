"""What is known of the data of a search without a Spark job."""

from __future__ import annotations

import hashlib
import posixpath
from typing import Any
from urllib.parse import urlsplit

from trackmllib.events import Dataset
from trackmllib.guard import attempt
from trackmllib.redaction import without_credentials


def describe_dataset(data: Any) -> Dataset:
    """Digest and files of a DataFrame.

    The digest is of its columns and of Spark's hash of its plan, as MLflow's is: equal plans on
    equal sources are equal data, and nobody reads a row.
    """
    plan = attempt(lambda: str(data.semanticHash()), "")
    columns = attempt(lambda: str(data.dtypes), "")
    digest = hashlib.md5(f"{plan}\n{columns}".encode(), usedforsecurity=False).hexdigest()
    return Dataset(digest=digest[:8], path=attempt(lambda: _folder(data.inputFiles()), None))


def _folder(files: list[str]) -> str | None:
    """The file that it is read from, or the folder of them all."""
    if not files:
        return None
    if len(files) == 1:
        return without_credentials(files[0])
    common = posixpath.commonprefix([file.rpartition("/")[0] + "/" for file in files])
    folder = common.rpartition("/")[0]
    place = urlsplit(folder)
    return without_credentials(folder) if place.netloc or place.path.strip("/") else None
