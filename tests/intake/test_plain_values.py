"""What intake reads of a data set by itself is what pydicom reads of it, whatever stands there."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from whyray.intake import header, structure
from whyray.intake.header import NotUnderstood, identify
from whyray.intake.received_bytes import ReceivedBytes
from whyray.intake.structure import NotWhole, check_whole

SYNTAXES = [str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian), str(ExplicitVRBigEndian)]
UIDS = [(0x0008, 0x0016), (0x0008, 0x0018), (0x0020, 0x000D), (0x0020, 0x000E)]
MODALITY, PATIENT_ID = (0x0008, 0x0060), (0x0010, 0x0020)

texts = st.one_of(
    st.sampled_from([b"1.2.3", b"1.2\0", b"1.2 ", b" 1.2", b"1.2\\1.3", b"", b"CT", b"CT\\MR", b"ct ", b"\0", b"  "]),
    st.binary(max_size=12),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=70).map(str.encode),
)
representations = st.sampled_from([b"UI", b"UI", b"UI", b"CS", b"LO", b"UN", b"OB", b"SH", b"XX", b"ST"])


def element(tag: tuple[int, int], vr: bytes, value: bytes, syntax: str) -> bytes:
    """One element."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    head = struct.pack(order + "HH", *tag)
    if syntax == ImplicitVRLittleEndian:
        return head + struct.pack("<I", len(value)) + value
    if vr in (b"UN", b"OB"):
        return head + vr + b"\0\0" + struct.pack(order + "I", len(value)) + value
    return head + vr + struct.pack(order + "H", len(value)) + value


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[bytes, str]:
    """A data set with the elements that intake reads, as devices write them and as nobody should, and its syntax."""
    syntax = draw(st.sampled_from(SYNTAXES))
    content = b""
    for tag in sorted([*UIDS, MODALITY, PATIENT_ID]):
        usual = {MODALITY: b"CS", PATIENT_ID: b"LO"}.get(tag, b"UI")
        value = draw(texts) if tag in (MODALITY, PATIENT_ID) or draw(st.integers(0, 9)) == 0 else b"1.2.34"
        content += element(tag, draw(st.one_of(st.just(usual), representations)), value, syntax)
    return content, syntax


def outcome(read: Callable[[], Any]) -> Any:
    """What it gives, or why it gives nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read()
        except (NotUnderstood, NotWhole) as error:
            return type(error), str(error)


@given(data_sets())
@settings(max_examples=100, deadline=None)
def test_values_are_those_that_pydicom_reads(drawn: tuple[bytes, str]) -> None:
    data, syntax = drawn

    def read() -> tuple[object, ...]:
        identity = identify(bytes(4) + data, 4, syntax)
        uids = (
            identity.study_instance_uid,
            identity.series_instance_uid,
            identity.sop_instance_uid,
            identity.sop_class_uid,
        )
        return *uids, identity.modality, identity.patient_id, identity.kept

    by_itself = outcome(read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(header, "_plain_value", lambda *_: None)
        assert by_itself == outcome(read)


@given(data_sets(), st.integers(-3, 3), st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_elements_lie_where_the_walk_through_their_parts_finds_them(
    drawn: tuple[bytes, str], longer: int, first: int
) -> None:
    data, syntax = drawn
    pixels = element((0x7FE0, 0x0010), b"OW" if syntax != SYNTAXES[1] else b"OB", bytes(20), syntax)
    data = (data + pixels + bytes(3))[: len(data) + len(pixels) + longer]
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian

    def walk() -> object:
        return check_whole(data, 0, implicit=implicit, little=little, wanted=frozenset(UIDS))

    at_once = outcome(walk)
    for most in (0, first):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(structure, "_AT_ONCE", most)
            assert at_once == outcome(walk)


@st.composite
def sequences(draw: st.DrawFn, syntax: str, depth: int = 0) -> bytes:
    """A sequence of items of elements, some of them sequences, of lengths that are given, left open or wrong."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"

    def enclosed(head: bytes, content: bytes, delimiter: tuple[int, int]) -> bytes:
        if draw(st.booleans()):
            return head + struct.pack(order + "I", 0xFFFFFFFF) + content + struct.pack(order + "HHI", *delimiter, 0)
        odd = draw(st.sampled_from([0] * 9 + [-8, -1, 1, 8]))
        return head + struct.pack(order + "I", max(0, len(content) + odd)) + content

    items = b""
    for _ in range(draw(st.integers(0, 2))):
        content = b""
        for tag in draw(st.lists(st.sampled_from([*UIDS, PATIENT_ID, (0x7FE0, 0x0010), (0x0008, 0x1140)]), max_size=3)):
            if depth < 2 and draw(st.integers(0, 3)) == 0:
                content += draw(sequences(syntax, depth + 1))
            else:
                content += element(tag, draw(representations), draw(texts), syntax)
        items += enclosed(struct.pack(order + "HH", 0xFFFE, 0xE000), content, (0xFFFE, 0xE00D))
    head = struct.pack(order + "HH", 0x0008, 0x1140)
    if syntax != ImplicitVRLittleEndian:
        head += draw(st.sampled_from([b"SQ", b"SQ", b"SQ", b"UN"])) + b"\0\0"
    return enclosed(head, items, (0xFFFE, 0xE0DD))


@given(st.data(), st.sampled_from(SYNTAXES), st.integers(0, 60), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_sequences_are_walked_alike_however_much_of_them_is_in_memory(
    drawn: st.DataObject, syntax: str, first: int, cut: int
) -> None:
    data = drawn.draw(sequences(syntax)) + element((0x0010, 0x0020), b"LO", b"id", syntax)
    data = data[: len(data) - (cut if cut < 5 else 0)]
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian

    def walk() -> object:
        try:
            return check_whole(data, 0, implicit=implicit, little=little, wanted=frozenset([*UIDS, PATIENT_ID]))
        except NotWhole:
            return "not whole"
        except struct.error:
            return "not whole"

    at_once = walk()
    for most in (0, first):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(structure, "_AT_ONCE", most)
            assert at_once == walk()


def test_no_file_is_opened_for_what_is_in_memory() -> None:
    opened = []

    def open_file() -> io.BytesIO:
        opened.append(True)
        return io.BytesIO(b"0123456789")

    received = ReceivedBytes(b"01234", 10, open_file)
    assert (len(received), received[0:2], received[3:5]) == (10, b"01", b"34")
    assert not opened
    assert (received[3:6], received[8:20], received[9:3]) == (b"345", b"89", b"")
    received.close()
    assert len(opened) == 1


def test_what_follows_on_the_pixels_is_in_memory_too() -> None:
    def open_file() -> io.BytesIO:
        raise AssertionError("it was opened")

    received = ReceivedBytes(b"01234", 10, open_file, b"789")
    assert (received[7:10], received[8:9], received[9:20], received[7:7]) == (b"789", b"8", b"9", b"")
    whole = ReceivedBytes(b"01234", 10, lambda: io.BytesIO(b"0123456789"), b"789")
    assert [whole[start:end] for start, end in ((5, 7), (6, 8), (3, 9))] == [b"56", b"67", b"345678"]
    whole.close()
