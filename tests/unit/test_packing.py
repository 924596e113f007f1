"""Files as texts: whole again, large ones never whole in memory, damaged ones no files."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackmllib import limits
from trackmllib.operations import LogArtifact
from trackmllib.packing import LARGE, PIECE_BYTES, file_text, unpacked

PIECES = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=300),
    st.just("x" * LARGE),
    st.integers(0, 9).map(lambda seed: random.Random(seed).randbytes(70_000).decode("latin-1")),
)


def file(text, is_packed):
    return LogArtifact(search_id="s", file_name="f", text=text, is_packed=is_packed)


@settings(max_examples=40)
@given(st.lists(PIECES, max_size=4))
def test_a_file_is_whole_again(contents):
    whole = "".join(contents)
    made = file_text(iter(contents))
    assert made.is_packed == (len(whole) > LARGE)
    pieces = list(file(*made).pieces())
    assert b"".join(pieces) == limits.escaped(whole).encode()
    assert not made.is_packed or all(len(piece) <= PIECE_BYTES for piece in pieces)


def test_a_small_file_lies_there_as_older_versions_read_it():
    assert file_text(["{", "}"]) == ("{}", False)


def test_a_picture_is_what_its_text_says():
    text = base64.b64encode(b"\x89PNG").decode()
    picture = LogArtifact(search_id="s", file_name="f.png", text=text, is_base64=True)
    assert list(picture.pieces()) == [b"\x89PNG"]


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-8], lambda text: "AAAA" + text[4:], str.lower]
)
def test_a_packed_file_that_is_damaged_is_no_file(damage):
    text, is_packed = file_text([random.Random(1).randbytes(LARGE + 1).decode("latin-1")])
    assert is_packed
    with pytest.raises(ValueError, match=r"this file is damaged|a part of this file is lost"):
        list(unpacked(damage(text)))
