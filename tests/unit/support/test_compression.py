"""Files as texts: large ones compressed, damaged ones refused."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackmllib.domain.operations import LogArtifact
from trackmllib.support.compression import COMPRESSED_FROM, PIECE_BYTES, decompress, file_text
from trackmllib.support.escaping import escaped

pytestmark = pytest.mark.versions

PIECES = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=300),
    st.just("x" * COMPRESSED_FROM),
    st.integers(0, 9).map(lambda seed: random.Random(seed).randbytes(70_000).decode("latin-1")),
)


def file(text, is_compressed):
    return LogArtifact(search_id="s", file_name="f", text=text, is_compressed=is_compressed)


@settings(max_examples=40)
@given(st.lists(PIECES, max_size=4))
def test_file_round_trips(contents):
    whole = "".join(contents)
    made = file_text(iter(contents))
    assert made.is_compressed == (len(whole) > COMPRESSED_FROM)
    pieces = list(file(*made).pieces())
    assert b"".join(pieces) == escaped(whole).encode()
    assert not made.is_compressed or all(len(piece) <= PIECE_BYTES for piece in pieces)


def test_small_file_is_not_compressed():
    assert file_text(["{", "}"]) == ("{}", False)


def test_base64_artifact_is_decoded():
    text = base64.b64encode(b"\x89PNG").decode()
    picture = LogArtifact(search_id="s", file_name="f.png", text=text, is_base64=True)
    assert list(picture.pieces()) == [b"\x89PNG"]


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-8], lambda text: "AAAA" + text[4:], str.lower]
)
def test_damaged_compressed_file_raises(damage):
    text, is_compressed = file_text(
        [random.Random(1).randbytes(COMPRESSED_FROM + 1).decode("latin-1")]
    )
    assert is_compressed
    with pytest.raises(ValueError, match=r"this file is damaged|a part of this file is missing"):
        list(decompress(damage(text)))
