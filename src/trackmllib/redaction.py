"""What must not be written down: the values of secret params, and credentials in URIs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from urllib.parse import unquote

HIDDEN = "***"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_COLUMN = {"col", "cols", "column", "columns"}
_SECRET_ANYWHERE = re.compile(r"passw(or)?d|passphrase|secret|credential")
_SECRET_WORDS = {"pwd", "apikey", "accesskey", "authtoken", "accesstoken"}
# Of these only the last word makes a secret, or one that follows a word that says of what it is the
# key: minTokenLength, numTokens and keyCol are none; authToken and api_key_prod are.
_SECRET_AT_THE_END = {"token", "key", "keys"}
_TOKENS_AND_KEYS = {"token", "tokens", "key", "keys"}
_OF_A_SECRET = {
    *("access", "api", "auth", "aws", "azure", "bearer", "client", "encryption", "gcp", "hf"),
    *("oauth", "private", "refresh", "secret", "service", "session", "signing"),
}
# A connection string of its own, with user and password in it.
_SECRET_QUERY = {"sig", "signature", "auth", "odbc_connect"}
# In the path of these there may be an "@"; of any other, a database's, all before the last one is
# user and password, which may hold anything.
_WITH_PATHS = {
    *("http", "https", "file", "sqlite", "databricks", "databricks-uc", "uc", "s3", "s3a", "gs"),
    *("dbfs", "hdfs", "viewfs", "abfss", "wasbs", "ftp", "sftp", "mlflow-artifacts", "r2", "b2"),
}
_WITH_FRAGMENTS = _WITH_PATHS - {"sqlite"}

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
        or words[-2:] == ["token", "value"]
        or any(a in _OF_A_SECRET and b in _TOKENS_AND_KEYS for a, b in pairwise(words))
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
    before, slash, after = rest.partition("/")
    base = scheme.partition("+")[0]
    if base in _WITH_PATHS:
        rest = before.rpartition("@")[2] + slash + after
    else:
        rest = rest.rpartition("@")[2]
    if base in _WITH_FRAGMENTS:
        # Of any other URI, "#" is part of the name of a file or a database.
        rest = rest.partition("#")[0]
    place, mark, query = rest.partition("?")
    kept = [pair for pair in re.split("[&;]", query) if pair and not _is_secret_pair(pair)]
    return f"{scheme}://{place}" + (mark + "&".join(kept) if kept else "")


def _is_secret_pair(pair: str) -> bool:
    name = unquote(pair.partition("=")[0])
    return looks_secret(name) or name.lower() in _SECRET_QUERY


def _hide_query_value(found: re.Match[str]) -> str:
    mark, name, _ = found.groups()
    return f"{mark}{name}={HIDDEN}" if _is_secret_pair(name) else found.group(0)
