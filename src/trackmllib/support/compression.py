"""Files as texts for the outbox, compressed if they are large."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from trackmllib.support.escaping import escaped

# Smaller files stay readable in the outbox.
COMPRESSED_FROM = 1 << 20
PIECE_BYTES = 1 << 16


class FileText(NamedTuple):
    """A file as a text; base64 of zlib if ``is_compressed``."""

    text: str
    is_compressed: bool


def file_text(pieces: Iterable[str]) -> FileText:
    """Join the pieces of a file, and compress it if it is large.

    A large file is never in memory as a whole.
    """
    pieces, read, size = iter(pieces), [], 0
    for piece in pieces:
        read.append(piece)
        size += len(piece)
        if size > COMPRESSED_FROM:
            return FileText(_compress(map(utf8, chain(read, pieces))), is_compressed=True)
    return FileText("".join(read), is_compressed=False)


def decompress(text: str) -> Iterator[bytes]:
    """Decompress a file, piece by piece.

    :raises ValueError: The text is damaged.
    """
    decompressor = zlib.decompressobj()
    rest = base64.b64decode(text)
    try:
        while not decompressor.eof:
            piece = decompressor.decompress(rest, PIECE_BYTES)
            if not (piece or decompressor.unconsumed_tail or decompressor.eof):
                raise ValueError("a part of this file is missing")
            rest = decompressor.unconsumed_tail
            yield piece
    except zlib.error as error:
        raise ValueError(f"this file is damaged: {error}") from error


def utf8(text: str) -> bytes:
    """Encode an escaped text; a lone surrogate becomes ``\\udc80``, as in JSON."""
    return escaped(text).encode()


def _compress(pieces: Iterable[bytes]) -> str:
    compressor = zlib.compressobj(level=1)
    parts = [*map(compressor.compress, pieces), compressor.flush()]
    return base64.b64encode(b"".join(parts)).decode("ascii")
