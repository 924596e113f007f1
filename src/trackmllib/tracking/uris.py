"""Tracking URIs as they may be shown: without what they hold of credentials."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(?<=://)[^/\s]+@")
_QUERY = re.compile(r"(://[^\s'\")?]*)\?[^\s'\")]*")


def redacted(text: str) -> str:
    """A URI, or a sentence that holds some, with user info and query values taken out."""
    return _QUERY.sub(r"\1?***", _USER_INFO.sub("***@", text))
