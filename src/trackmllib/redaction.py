"""What must not be written down: the values of secret params, and credentials in URIs."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_COLUMN = {"col", "cols", "column", "columns"}
_SECRET_ANYWHERE = {
    *("password", "passwords", "passwd", "passphrase", "pwd"),
    *("secret", "secrets", "credential", "credentials"),
}
# Of these only the last word makes a secret: minTokenLength and keyCol are none, authToken is one.
_SECRET_AT_THE_END = {"token", "key", "keys"}
_SECRET_QUERY = {"sig", "signature", "auth", "apikey"}

_USER_INFO = re.compile(r"(?<=://)[^/\s]+@")
_QUERY = re.compile(r"(://[^\s'\")?]*)\?[^\s'\")]*")
_QUERY_VALUE = re.compile(r"([?&;])([^=&;?\s'\"]+)=([^&;\s'\")]*)")


class Redaction:
    """Which params are recorded as ``***``: those that look secret, and those of the user's.

    ``patterns`` are regular expressions, searched for anywhere in the name of a param.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]

    def hides(self, name: str) -> bool:
        """Whether the value of the param of this name is to be hidden."""
        return looks_secret(name) or any(pattern.search(name) for pattern in self._patterns)


def looks_secret(name: str) -> bool:
    """Whether a name says that its value is a secret, by its words: ``dbPassword``, ``api_key``."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _COLUMN:
        return False
    return words[-1] in _SECRET_AT_THE_END or not _SECRET_ANYWHERE.isdisjoint(words)


def without_credentials(text: str) -> str:
    """A text with user info and secret query values of the URIs in it taken out."""
    if "://" not in text:
        return text
    return _QUERY_VALUE.sub(_hide_query_value, _USER_INFO.sub(f"{HIDDEN}@", text))


def redacted(text: str) -> str:
    """As ``without_credentials``, and every query of a URI gone: for what people are shown."""
    return _QUERY.sub(rf"\1?{HIDDEN}", _USER_INFO.sub(f"{HIDDEN}@", text))


def stripped(uri: str) -> str:
    """A tracking URI as it may be stored: the same server, without user info and secret values."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    return f"{scheme}://{_strip_query(host + slash + path)}"


def _strip_query(rest: str) -> str:
    path, mark, query = rest.partition("?")
    kept = [pair for pair in query.split("&") if pair and not _is_secret_pair(pair)]
    return path + (mark + "&".join(kept) if kept else "")


def _is_secret_pair(pair: str) -> bool:
    name = pair.partition("=")[0]
    return looks_secret(name) or name.lower() in _SECRET_QUERY


def _hide_query_value(found: re.Match[str]) -> str:
    mark, name, _ = found.groups()
    return f"{mark}{name}={HIDDEN}" if _is_secret_pair(name) else found.group(0)
