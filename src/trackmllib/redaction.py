"""What must not be written down: the values of secret params, and credentials in URIs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

HIDDEN = "***"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_COLUMN = {"col", "cols", "column", "columns"}
_SECRET_ANYWHERE = re.compile(r"passw(or)?d|passphrase|secret|credential")
_SECRET_WORDS = {"pwd", "apikey", "accesskey", "authtoken", "accesstoken"}
# Of these only the last word makes a secret: minTokenLength and keyCol are none, authToken is one.
_SECRET_AT_THE_END = {"token", "key", "keys"}
# A connection string of its own, with user and password in it.
_SECRET_QUERY = {"sig", "signature", "auth", "odbc_connect"}
# Their passwords may hold anything; in the path of any other URI there may be an "@".
_DATABASES = {"postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle"}

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
    return (
        words[-1] in _SECRET_AT_THE_END
        or not _SECRET_WORDS.isdisjoint(words)
        or _SECRET_ANYWHERE.search(name.lower()) is not None
    )


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
    if scheme.partition("+")[0] in _DATABASES:
        rest = rest.rpartition("@")[2]
    place, mark, query = rest.partition("#")[0].partition("?")
    authority, slash, path = place.partition("/")
    place = authority.rpartition("@")[2] + slash + path
    kept = [pair for pair in re.split("[&;]", query) if pair and not _is_secret_pair(pair)]
    return f"{scheme}://{place}" + (mark + "&".join(kept) if kept else "")


def _is_secret_pair(pair: str) -> bool:
    name = unquote(pair.partition("=")[0])
    return looks_secret(name) or name.lower() in _SECRET_QUERY


def _hide_query_value(found: re.Match[str]) -> str:
    mark, name, _ = found.groups()
    return f"{mark}{name}={HIDDEN}" if _is_secret_pair(name) else found.group(0)
