"""Files as texts, in which form they wait in an outbox: large ones compressed."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from trackmllib import limits

# Files up to here lie there as they are, where everybody can read them.
LARGE = 1 << 20
PIECE_BYTES = 1 << 16


class FileText(NamedTuple):
    """A file as text. ``is_packed``: as base64 of what zlib makes of it."""

    text: str
    is_packed: bool


def file_text(pieces: Iterable[str]) -> FileText:
    """The text of a file of these pieces. A large one is never whole in memory: the files of a
    search of ten thousand candidates are ten megabytes each.
    """
    pieces, begun, size = iter(pieces), [], 0
    for piece in pieces:
        begun.append(piece)
        size += len(piece)
        if size > LARGE:
            return FileText(_packed(map(utf8, chain(begun, pieces))), is_packed=True)
    return FileText("".join(begun), is_packed=False)


def unpacked(text: str) -> Iterator[bytes]:
    """The file of a text that is packed, piece by piece. ValueError for one that is damaged."""
    unpack = zlib.decompressobj()
    left = base64.b64decode(text)
    try:
        while not unpack.eof:
            piece = unpack.decompress(left, PIECE_BYTES)
            if not (piece or unpack.unconsumed_tail or unpack.eof):
                raise ValueError("a part of this file is lost")
            left = unpack.unconsumed_tail
            yield piece
    except zlib.error as error:
        raise ValueError(f"this file is damaged: {error}") from error


def utf8(text: str) -> bytes:
    """The bytes of an escaped text; a lone surrogate becomes ``\\udc80``, as in JSON."""
    return limits.escaped(text).encode()


def _packed(pieces: Iterable[bytes]) -> str:
    squeeze = zlib.compressobj(level=1)
    parts = [*map(squeeze.compress, pieces), squeeze.flush()]
    return base64.b64encode(b"".join(parts)).decode("ascii")
