"""Redaction of secret params, credentials in URIs, and secrets in texts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_COLUMN = {"col", "cols", "column", "columns"}
_SECRET_ANYWHERE = re.compile(r"passw(or)?d|passphrase|secret|credential|authorization")
_SECRET_WORDS = {"pwd", "apikey", "accesskey", "authtoken", "accesstoken"}
# Secret only at the end of a name, or after one of _SECRET_QUALIFIERS: authToken and api_key_prod
# are secret; minTokenLength, numTokens and keyCol are not.
_SECRET_AT_THE_END = {"token", "key", "keys"}
_TOKENS_AND_KEYS = {"token", "tokens", "key", "keys"}
_SECRET_QUALIFIERS = {
    *("access", "api", "auth", "aws", "azure", "bearer", "client", "encryption", "gcp", "hf"),
    *("oauth", "private", "refresh", "secret", "service", "session", "signing"),
}
# Query keys of connection strings, whose values have a user and a password.
_SECRET_QUERY = {"odbc_connect", "googleaccessid", "key-pair-id"}
# Last words of query keys, as in ``X-Amz-Signature``.
_SECRET_AT_THE_END_OF_A_QUERY = {"sig", "signature", "auth"}
# Schemes whose paths may contain "@". In other URIs, such as a database's, everything before the
# last "@" is user and password.
_WITH_PATHS = {
    *("http", "https", "file", "sqlite", "databricks", "databricks-uc", "uc", "s3", "s3a", "gs"),
    *("dbfs", "hdfs", "viewfs", "abfss", "wasbs", "ftp", "sftp", "mlflow-artifacts", "r2", "b2"),
}
_WITH_FRAGMENTS = _WITH_PATHS - {"sqlite"}

_URI = re.compile(r"([A-Za-z][\w+.\-]{0,30})://((?:(?![A-Za-z][\w+.\-]{0,30}://)\S)+)")
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(:\d*)?")
_QUERY = re.compile(r"(://[^\s'\")?]*)\?[^\s'\")]*")
_QUERY_VALUE = re.compile(r"([?&;])([^=&;?\s'\"]+)=([^&;\s'\")]*)")

_QUOTED = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
# password="…", 'password': '…', \"password\": \"…\"; _BARE matches password=….
_NAMED = re.compile(
    r"""(?P<before>(?P<quote>\\?["'])?(?P<name>[A-Za-z_][\w.\-]{0,60})(?(quote)(?P=quote))\s*"""
    rf"""(?:==?|:=|:|=>)\s*[rbfuRBFU]{{0,2}})(?P<value>{_QUOTED}|\\"[^"\\]*\\")"""
)
_BARE = re.compile(r"""([A-Za-z_][\w.\-]{0,60})=([^\s,;&'"=][^\s,;&'"]*)""")
_HEADER = re.compile(
    r"""(?i)(\bauthorization["']?\s*[:=]\s*["']?)(?:[a-z]+[ ])?[^\s"',]+"""
    r"""|(\bbearer\s+)[\w.~+/\-]{8,}=*"""
)
# Names that are too common to be secret by themselves.
_HARMLESS_WITHIN = {"key", "keys"}
# Functions that take a password as a positional argument.
_CALLS = {"auth", "authenticate", "connect", "login"}
_NAME_IN_CODE = re.compile(r"[A-Za-z_]\w*")
_LITERAL = re.compile(rf"""{_QUOTED}|["'][^"'\n]*$""")

Hides = Callable[[str], bool]


class Redaction:
    """Selection of the params that are recorded as ``***``.

    :param patterns: Regular expressions that match any part of a param's name.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]

    def hides(self, name: str) -> bool:
        """Whether the value of a param is hidden."""
        return looks_secret(name) or any(pattern.search(name) for pattern in self._patterns)


def looks_secret(name: str) -> bool:
    """Whether a name is that of a secret: ``dbPassword``."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _COLUMN:
        return False
    return (
        words[-1] in _SECRET_AT_THE_END
        or words[-2:] == ["token", "value"]
        or any(a in _SECRET_QUALIFIERS and b in _TOKENS_AND_KEYS for a, b in pairwise(words))
        or not _SECRET_WORDS.isdisjoint(words)
        or _SECRET_ANYWHERE.search(name.lower()) is not None
    )


def redact_credentials(text: str) -> str:
    """Hide credentials of URIs and named secrets in a text.

    Named secrets look like ``password='…'`` or ``Authorization: Bearer …``.
    """
    if "=" not in text and ":" not in text and "earer" not in text:
        return text
    text = _HEADER.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}", text)
    text = _BARE.sub(_hide_bare, _NAMED.sub(_hide_named, text))
    if "://" not in text:
        return text
    return _QUERY_VALUE.sub(_hide_query_value, _URI.sub(_hide_user_info, text))


def redacted(text: str) -> str:
    """Hide credentials and all queries of URIs, for messages."""
    return _QUERY.sub(rf"\1?{HIDDEN}", redact_credentials(text))


def redact_value(value: Any, hides: Hides = looks_secret) -> Any:
    """Hide the secrets in dicts, name-value pairs, JSON and other texts."""
    if isinstance(value, str):
        return _within_text(value, hides)
    if isinstance(value, dict):
        return {
            key: HIDDEN if each is not None and _hides(key, hides) else redact_value(each, hides)
            for key, each in value.items()
        }
    if type(value) in (list, tuple):
        if len(value) == 2 and isinstance(value[1], str) and _hides(value[0], hides):
            return type(value)([value[0], HIDDEN])
        return type(value)([redact_value(each, hides) for each in value])
    return value


def contains_secret(value: Any, hides: Hides = looks_secret) -> bool:
    """Whether ``redact_value`` would hide something in a value."""
    if isinstance(value, str):
        return _within_text(value, hides) != value
    if isinstance(value, dict):
        return any(
            (each is not None and _hides(key, hides)) or contains_secret(each, hides)
            for key, each in value.items()
        )
    if type(value) in (list, tuple):
        is_pair = len(value) == 2 and isinstance(value[1], str)
        return (is_pair and _hides(value[0], hides)) or any(
            contains_secret(each, hides) for each in value
        )
    return False


def is_secret(name: str, value: Any) -> bool:
    """Whether a variable is secret, by its name or its value."""
    if isinstance(value, (str, bytes)) and value and _hides(name, looks_secret):
        return True
    return contains_secret(value)


def redact_traceback(text: str) -> str:
    """Hide credentials, and literals beside secret names, in a traceback."""
    lines = text.splitlines(keepends=True)
    kept: list[str] = []
    statement: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("    ") and not line.startswith(("     ^", "    ~")):
            statement.append(line)
            continue
        if any(map(_names_secret, statement)):
            statement = [_LITERAL.sub(f'"{HIDDEN}"', each) for each in statement]
        kept += [*statement, line]
        statement = []
    return redact_credentials("".join(kept))


def _names_secret(code: str) -> bool:
    names = _NAME_IN_CODE.findall(code)
    return any(_hides(name, looks_secret) or name.lower() in _CALLS for name in names)


def _within_text(text: str, hides: Hides) -> str:
    if text.lstrip()[:1] in ("{", "["):
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return redact_credentials(text)
        hidden = redact_value(data, hides)
        return text if hidden == data else json.dumps(hidden, ensure_ascii=False)
    return redact_credentials(text)


def _hides(name: Any, hides: Hides) -> bool:
    return isinstance(name, str) and name.lower() not in _HARMLESS_WITHIN and hides(name)


def _hide_named(found: re.Match[str]) -> str:
    if not _hides(found["name"], looks_secret):
        return found[0]
    quote = found["value"][: 2 if found["value"].startswith("\\") else 1]
    return f"{found['before']}{quote}{HIDDEN}{quote}"


def _hide_bare(found: re.Match[str]) -> str:
    return f"{found[1]}={HIDDEN}" if _hides(found[1], looks_secret) else found[0]


def _hide_user_info(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    host = _without_user_info(scheme, rest)
    return found[0] if host == rest else f"{scheme}://{HIDDEN}@{host}"


def _without_user_info(scheme: str, rest: str) -> str:
    """Part of a URI after the user info, which may contain any character."""
    authority, slash, path = rest.partition("/")
    has_path = scheme.lower().partition("+")[0] in _WITH_PATHS
    if not has_path and ":" in authority:
        return rest.rpartition("@")[2]
    user, at, _ = authority.rpartition("@")
    has_password = ":" in user if at else _HOST.fullmatch(authority) is None
    if has_password and "@" in path:
        # The password contains a slash.
        return path.rpartition("@")[2]
    return authority.rpartition("@")[2] + slash + path


def strip_credentials(uri: str) -> str:
    """Remove user info and secret query values from a tracking URI."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    base = scheme.lower().partition("+")[0]
    rest = _without_user_info(scheme, rest) if base in _WITH_PATHS else rest.rpartition("@")[2]
    if base in _WITH_FRAGMENTS:
        # In other URIs, "#" is part of the name of a file or a database.
        rest = rest.partition("#")[0]
    place, mark, query = rest.partition("?")
    kept = [pair for pair in re.split("[&;]", query) if pair and not _is_secret_pair(pair)]
    return f"{scheme}://{place}" + (mark + "&".join(kept) if kept else "")


def _is_secret_pair(pair: str) -> bool:
    name = unquote(pair.partition("=")[0])
    words = [word.lower() for word in _WORD.findall(name)]
    return (
        looks_secret(name)
        or name.lower() in _SECRET_QUERY
        or not _SECRET_AT_THE_END_OF_A_QUERY.isdisjoint(words[-1:])
    )


def _hide_query_value(found: re.Match[str]) -> str:
    mark, name, _ = found.groups()
    return f"{mark}{name}={HIDDEN}" if _is_secret_pair(name) else found.group(0)
