"""Whether a data set is whole: sequences nested in every way of giving their lengths, and what is no element."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian

from intake.conftest import Running
from intake.scu import encode, small, uid
from intake.web import answered, dicomweb, multipart, part10, post
from whyray.intake import structure
from whyray.intake.structure import NotWhole, check_whole, inflate

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
UNDEFINED = 0xFFFFFFFF
REFERENCED_IMAGES, PRIVATE = (0x0008, 0x1140), (0x0009, 0x1001)


def element(tag: tuple[int, int], vr: bytes, value: bytes, syntax: str, *, undefined: bool = False) -> bytes:
    """One element; with undefined length it ends in a delimiter."""
    order = ">" if syntax == BIG else "<"
    length = UNDEFINED if undefined else len(value)
    head = struct.pack(order + "HH", *tag)
    if syntax == IMPLICIT:
        head += struct.pack("<I", length)
    elif vr in (b"SQ", b"UN", b"OB"):
        head += vr + b"\0\0" + struct.pack(order + "I", length)
    else:
        head += vr + struct.pack(order + "H", length)
    return head + value + (struct.pack(order + "HHI", 0xFFFE, 0xE0DD, 0) if undefined else b"")


def item(content: bytes, syntax: str, *, undefined: bool = False) -> bytes:
    """One item."""
    order = ">" if syntax == BIG else "<"
    head = struct.pack(order + "HHI", 0xFFFE, 0xE000, UNDEFINED if undefined else len(content))
    return head + content + (struct.pack(order + "HHI", 0xFFFE, 0xE00D, 0) if undefined else b"")


Lengths = Callable[[int], tuple[bool, bool]]
LENGTHS: dict[str, Lengths] = {
    "defined": lambda _: (False, False),
    "undefined": lambda _: (True, True),
    "sequences undefined": lambda _: (True, False),
    "items undefined": lambda _: (False, True),
    "in turn": lambda level: (level % 2 == 0, level % 3 == 0),
}


def nested(
    depth: int, syntax: str, lengths: Lengths, *, tag: tuple[int, int] = REFERENCED_IMAGES, vr: bytes = b"SQ"
) -> bytes:
    """A sequence in an item of a sequence, and so on."""
    inner = element((0x0008, 0x1155), b"UI", b"1.2\0", syntax)
    for level in range(depth):
        of_sequence, of_item = lengths(level)
        inner = element(tag, vr, item(inner, syntax, undefined=of_item), syntax, undefined=of_sequence)
    return inner


def check(data: bytes, syntax: str) -> None:
    check_whole(data, 0, implicit=syntax == IMPLICIT, little=syntax != BIG)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("tag", [REFERENCED_IMAGES, PRIVATE])
def test_sequences_nested_too_deep_are_refused_whatever_their_lengths(
    syntax: str, lengths: str, tag: tuple[int, int]
) -> None:
    check(nested(40, syntax, LENGTHS[lengths], tag=tag), syntax)
    for depth in (65, 2000):
        with pytest.raises(NotWhole, match="nested deeper than 64"):
            check(nested(depth, syntax, LENGTHS[lengths], tag=tag), syntax)


@pytest.mark.parametrize(("outer", "inner"), [(EXPLICIT, EXPLICIT), (EXPLICIT, IMPLICIT), (BIG, BIG)])
@pytest.mark.parametrize("lengths", ["defined", "items undefined"])
def test_sequences_declared_as_un_are_refused_too(outer: str, inner: str, lengths: str) -> None:
    deep = nested(2000, inner, LENGTHS[lengths], tag=PRIVATE, vr=b"UN")
    value = item(deep, outer)
    with pytest.raises(NotWhole, match="nested deeper than 64"):
        check(element(PRIVATE, b"UN", value, outer), outer)


def test_a_deep_sequence_hidden_in_a_shallow_one_of_another_kind_is_refused() -> None:
    deep = nested(100, EXPLICIT, LENGTHS["defined"])
    hidden = element(PRIVATE, b"UN", item(deep, EXPLICIT), EXPLICIT)
    for data in (
        element(REFERENCED_IMAGES, b"SQ", item(hidden, EXPLICIT) + item(b"", EXPLICIT), EXPLICIT),
        element(REFERENCED_IMAGES, b"SQ", item(b"", EXPLICIT) + item(hidden, EXPLICIT), EXPLICIT, undefined=True),
    ):
        with pytest.raises(NotWhole, match="nested deeper than 64"):
            check(data, EXPLICIT)


@pytest.mark.parametrize("vr", [b"UN", b"OB", b"LT"])
def test_a_value_that_only_looks_like_a_sequence_may_hold_what_it_likes(vr: bytes) -> None:
    for value in (item(b"", EXPLICIT)[:6], item(b"not elements", EXPLICIT), item(b"x", EXPLICIT)[:-1] + b"y" * 9):
        check(element(PRIVATE, vr, value + b" " * (len(value) % 2), EXPLICIT), EXPLICIT)
        check(element(PRIVATE, vr, value + b" " * (len(value) % 2), IMPLICIT), IMPLICIT)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_what_devices_write_beside_the_standard_is_borne(syntax: str) -> None:
    order = ">" if syntax == BIG else "<"
    end_of_sequence = struct.pack(order + "HHI", 0xFFFE, 0xE0DD, 0)
    end_of_item = struct.pack(order + "HHI", 0xFFFE, 0xE00D, 0)
    reference = element((0x0008, 0x1155), b"UI", b"1.2\0", syntax)
    check(element(REFERENCED_IMAGES, b"SQ", item(reference, syntax) + end_of_sequence, syntax), syntax)
    check(element(REFERENCED_IMAGES, b"SQ", item(reference + end_of_item, syntax), syntax), syntax)
    check(element(REFERENCED_IMAGES, b"SQ", item(reference + bytes(4), syntax) + bytes(2), syntax) + bytes(6), syntax)
    check(element(REFERENCED_IMAGES, b"SQ", b"", syntax), syntax)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_what_reaches_beyond_its_item_or_its_sequence_is_not_whole(syntax: str) -> None:
    reference = element((0x0008, 0x1155), b"UI", b"1.2\0", syntax)
    broken = [
        element(REFERENCED_IMAGES, b"SQ", item(reference, syntax)[:-2], syntax),
        element(REFERENCED_IMAGES, b"SQ", item(reference[:-2], syntax), syntax) + bytes(2),
        element(REFERENCED_IMAGES, b"SQ", b"no items", syntax),
        element(REFERENCED_IMAGES, b"SQ", item(reference, syntax) + reference, syntax),
        element(REFERENCED_IMAGES, b"SQ", item(reference, syntax), syntax, undefined=True)[:-8],
    ]
    for data in broken:
        with pytest.raises(NotWhole):
            check(data + element((0x0010, 0x0010), b"PN", b"", syntax), syntax)


def test_by_c_store_and_by_stow_rs_a_deep_sequence_is_refused_and_the_next_instance_taken(
    listen: Callable[..., Running],
) -> None:
    running = listen(dicomweb=dicomweb())
    deep = nested(2000, EXPLICIT, LENGTHS["defined"], tag=(0x5400, 0x0100))
    whole = encode(small(1))
    place = whole.index(b"\xe0\x7f\x10\x00")
    data = whole[:place] + deep + whole[place:]
    with running.sender() as sender:
        response = sender.store(data, uid("1", 1))
        assert response.Status == 0xC000
        assert "nested deeper than 64" in response.ErrorComment
        assert sender.store(encode(small(2)), uid("1", 2)).Status == 0
    file = part10(small(3)).replace(b"\xe0\x7f\x10\x00", deep + b"\xe0\x7f\x10\x00")
    stored, failed, _ = answered(post(running, multipart(file, part10(small(4)))))
    assert (stored, failed) == ([uid("1", 4)], {uid("1", 3): 0xC000})
    assert len(running.files()) == 2
    (event,) = [event for event in running.events("intake.not-understood") if "C-STORE" in event.message]
    assert "nested deeper than 64" in event.message


def test_a_deep_sequence_in_a_deflated_data_set_is_refused(listen: Callable[..., Running]) -> None:
    running = listen()
    deep = small(1)
    inner = deep
    for _ in range(100):
        item_data = type(deep)()
        item_data.ReferencedSOPInstanceUID = "1.2"
        inner.ReferencedImageSequence = [item_data]
        inner = item_data
    syntax = DeflatedExplicitVRLittleEndian
    with running.sender(contexts=((CTImageStorage, (syntax,)),)) as sender:
        assert sender.store(encode(deep, syntax), uid("1", 1)).Status == 0xC000
        assert sender.store(encode(small(2), syntax), uid("1", 2)).Status == 0


@pytest.mark.parametrize("after", [b"", b"\0", bytes(7)], ids=["nothing", "padding", "more"])
@pytest.mark.parametrize("size", [100, 1 << 20, (1 << 20) + 1, 3 << 20, 5_000_001])
def test_a_deflated_data_set_ends_where_its_stream_does_with_padding_or_without(size: int, after: bytes) -> None:
    """PS3.5 section A.5 has the padding; it kept intake busy for ever, where more than 1 MiB had been inflated."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    deflated = packer.compress(bytes(size)) + packer.flush() + after
    assert inflate(deflated, 0, keep=8 << 20) == bytes(size)
    with pytest.raises(NotWhole, match="ends too early"):
        inflate(deflated[: -len(after) - 1], 0, keep=100)


@pytest.mark.parametrize("size", [100, (1 << 20) + 1, 3 << 20])
def test_what_follows_a_deflated_data_set_and_is_no_padding_is_not_lost_in_silence(size: int) -> None:
    """As without deflation, where more than 7 zero bytes, or any others, are left after the last element."""

    def deflated(content: bytes) -> bytes:
        packer = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
        return packer.compress(content) + packer.flush()

    whole = deflated(bytes(size))
    for more in (deflated(b"more"), b"\1", b"\0\1", bytes(8), bytes(1 << 20), bytes(1 << 20) + b"\1"):
        with pytest.raises(NotWhole, match="after the end of the deflated data set"):
            inflate(whole + more, 0, keep=100)
    # where the stream ends with one of the pieces in which it is read
    tried = (deflated(bytes((1 << 20) - overhead)) for overhead in range(200))
    filled = next(stream for stream in tried if len(stream) == 1 << 20)
    assert inflate(filled + bytes(7), 0, keep=100) == bytes(100)
    with pytest.raises(NotWhole, match="after the end of the deflated data set"):
        inflate(filled + b"\1", 0, keep=100)


def test_two_deflated_streams_in_one_instance_are_refused(listen: Callable[..., Running]) -> None:
    running = listen()
    syntax = DeflatedExplicitVRLittleEndian
    with running.sender(contexts=((CTImageStorage, (syntax,)),)) as sender:
        assert sender.store(encode(small(1), syntax) + encode(small(2), syntax), uid("1", 1)).Status == 0xC000
        assert sender.store(encode(small(3), syntax), uid("1", 3)).Status == 0
    assert len(running.files()) == 1


def test_a_small_deflated_data_set_that_stands_for_gigabytes_is_refused_before_it_is_inflated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(structure, "_MOST_INFLATED", 4 << 20)
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = packer.compress(bytes(16 << 20)) + packer.flush()
    with pytest.raises(NotWhole, match="inflates to more than 4 MB"):
        inflate(bomb, 0, keep=1 << 20)
    monkeypatch.setattr(structure, "_HIGHEST_RATIO", 1000)
    assert len(inflate(bomb, 0, keep=1 << 20)) == 1 << 20
