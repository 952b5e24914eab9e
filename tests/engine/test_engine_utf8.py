"""Streaming never cuts a character, and loses no token."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from charter_compiler.serve.engine.utf8 import Utf8Assembler


def single_bytes(token: int) -> bytes:
    return bytes([token])


@given(st.text(), st.integers(1, 5))
def test_every_group_is_whole_characters(text: str, step: int) -> None:
    assembler = Utf8Assembler(single_bytes)
    data = text.encode()
    groups = [assembler.push(data[i : i + step]) for i in range(0, len(data), step)]
    assert "".join(bytes(group).decode() for group in groups) == text
    assert assembler.flush() == ()


@given(st.binary())
def test_no_token_is_lost_or_reordered(data: bytes) -> None:
    assembler = Utf8Assembler(single_bytes)
    out = [token for byte in data for token in assembler.push([byte])]
    assert bytes([*out, *assembler.flush()]) == data


def test_an_unfinished_character_is_held_and_then_flushed() -> None:
    assembler = Utf8Assembler({1: b"a", 2: b"\xe2\x82", 3: b"\xac"}.__getitem__)
    assert assembler.push([1, 2]) == (1,)
    assert assembler.push([3]) == (2, 3)
    assert assembler.push([2]) == ()
    assert assembler.flush() == (2,)


def test_bytes_that_are_no_utf8_hold_nothing_back() -> None:
    assert Utf8Assembler(single_bytes).push([0xFF, 0x80]) == (0xFF, 0x80)
