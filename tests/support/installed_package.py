"""Installs packages as pip would, without a process."""

from __future__ import annotations

import base64
import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path

from trackmllib.spark.introspection import distributions


def install(
    folder: Path, name: str, version: str, files: Mapping[str, str], more: tuple[str, ...] = ()
) -> Path:
    """Write the files of a distribution and their RECORD; return the folder of its metadata.

    :param more: Further lines of RECORD.
    """
    info = folder / f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents = {**files, f"{info.name}/METADATA": metadata}
    lines = [f"{info.name}/RECORD,,"]
    for path, text in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        lines.append(f"{path},sha256={digest.rstrip('=')},{len(text)}")
    (info / "RECORD").write_text("\n".join([*lines, *more]))
    return info


def forget_distributions() -> None:
    """Let installed distributions be read again, as in a new process."""
    importlib.invalidate_caches()
    distributions.library_of_module.cache_clear()
    distributions.installed_files.cache_clear()
