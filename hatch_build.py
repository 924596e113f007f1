"""Metadata that is not in pyproject.toml: addresses, and the long description."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class AddressesAndReadme(MetadataHookInterface):
    """Derives all addresses from ``repository``, so that the project's address is in one place."""

    def update(self, metadata: dict[str, Any]) -> None:
        repository = self.config["repository"]
        metadata["urls"] = {
            "Source": repository,
            "Documentation": f"{repository}/tree/main/docs",
            "Changelog": f"{repository}/blob/main/CHANGELOG.md",
            "Issues": f"{repository}/issues",
        }
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_absolute_links(readme, repository, f"v{metadata['version']}"),
        }


def with_absolute_links(text: str, repository: str, ref: str) -> str:
    """Replace relative links, which a package index cannot follow, by those of a tag."""

    def absolute(match: re.Match[str]) -> str:
        kind = "raw" if match["image"] else "blob"
        return f"{match['image']}[{match['label']}]({repository}/{kind}/{ref}/{match['target']})"

    return re.sub(
        r"(?P<image>!?)\[(?P<label>[^\]]*)\]\((?!https?://|#)(?P<target>[^)]+)\)", absolute, text
    )
