"""Multipart bodies in pieces of any size, and broken ones."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyray.intake.multipart import MalformedBody, MultipartReader

BOUNDARY = "b0undary"


class Kept:
    """All parts that have ended."""

    def __init__(self) -> None:
        self.parts: list[tuple[dict[str, str], bytes]] = []
        self._now: tuple[dict[str, str], bytearray] = ({}, bytearray())

    def begin(self, headers: Mapping[str, str]) -> None:
        self._now = (dict(headers), bytearray())

    def data(self, piece: bytes) -> None:
        self._now[1].extend(piece)

    def end(self) -> None:
        self.parts.append((self._now[0], bytes(self._now[1])))


def read(body: bytes, *sizes: int) -> list[tuple[dict[str, str], bytes]]:
    kept = Kept()
    reader = MultipartReader(BOUNDARY, kept)
    position = 0
    for size in sizes:
        reader.feed(body[position : position + size])
        position += size
    reader.feed(body[position:])
    reader.close()
    return kept.parts


# pieces of the boundary itself are what a reader gets wrong
content = st.lists(
    st.sampled_from(
        [
            *(b"\r\n", b"--", b"\r\n--", b"\r\n--b0undar", b"\r", b"\n", b"-", b"x", b"\x00\xff", b"--b0undary"),
            *(b"\r\n--b0undaryX", b"\r\n--b0undary \t", b"\r\n--b0undary-x", b"\r\n--b0undary" + b" " * 300),
        ]
    ),
    max_size=12,
).map(b"".join)
LINE = re.compile(rb"\r\n--b0undary(?:--|[ \t]{0,254}\r\n)")
parts = st.lists(content.filter(lambda part: not LINE.search(b"\r\n" + part + b"\r\n")), max_size=4)


@settings(max_examples=300, deadline=None)
@given(parts, st.lists(st.integers(0, 9), max_size=80), st.sampled_from([b"", b"a preamble\r\n"]))
def test_parts_come_out_as_they_went_in_whatever_the_pieces(
    bodies: list[bytes], sizes: list[int], preamble: bytes
) -> None:
    body = preamble + b"".join(b"--b0undary \t\r\nA: 1\r\nb:two\r\n\r\n" + part + b"\r\n" for part in bodies)
    body += b"--b0undary--\r\nan epilogue"
    assert read(body, *sizes) == [({"a": "1", "b": "two"}, part) for part in bodies]


def test_a_part_may_have_no_header_and_a_folded_one_and_no_body() -> None:
    body = b"--b0undary\r\n\r\nfirst\r\n--b0undary\r\nName: one\r\n two\r\n\r\n--b0undary--"
    assert read(body) == [({}, b"first"), ({"name": "one two"}, b"")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--b0undary\r\n\r\nunfinished",
        b"--b0undary\r\n\r\nwhole\r\n--b0undary\r\n",
        b"--b0undaryX\r\n\r\nwhole\r\n--b0undaryX--",
        b"--b0undary\r\nno colon\r\n\r\nwhole\r\n--b0undary--",
        b"--b0undary\r\nA: " + b"a" * 20000,
        b"--b0undary" + b" " * 20000,
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        read(body, 1, 2, 3)


@pytest.mark.parametrize("boundary", ["", "x" * 257, "bündel"])
def test_a_boundary_that_is_none_is_refused(boundary: str) -> None:
    with pytest.raises(MalformedBody):
        MultipartReader(boundary, Kept())
