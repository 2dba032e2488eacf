"""The same slice, or the same instance, that came more than once: used once where nothing differs, never guessed at."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Hashable, Sequence

import numpy as np
from pydicom import Dataset
from pydicom.tag import BaseTag

from whyray.base.errors import ImageError, WhyRayError
from whyray.imaging.attributes import attribute_name
from whyray.imaging.decode import stored_frames
from whyray.imaging.instance import PIXEL_GROUP, Instance, refusing_as_image_error
from whyray.imaging.isolated import IsolatedGdcm
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.stack import Member, named, places_of

IMAGE_GROUPS = (0x0018, 0x0020, 0x0028, 0x5200, PIXEL_GROUP)
"""Acquisition, relationship, image presentation, functional groups, pixels: what values and their place rest on."""

PIXEL_GROUPS = (0x0028, PIXEL_GROUP)
PIXEL_DATA = "Pixel Data (7FE0,0010)"


def drop_repeats(members: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    """Slices that no other of the same place and pixel data is among, and those that repeat one of them."""
    members = sorted(members, key=_first_sent)
    kept: dict[Hashable, Member] = {}
    repeats: list[Member] = []
    for member, place in zip(members, places_of(members).tolist(), strict=True):
        digest = _digest(member)
        if digest is not None and (place, digest) in kept:
            repeats.append(member)
        else:
            kept[place, digest or id(member)] = member
    return list(kept.values()), repeats


def repeated_note(repeats: Sequence[Member]) -> Note:
    """What was dropped, by Instance Number and SOP Instance UID."""
    some = f"{len(repeats)} slices lie" if len(repeats) > 1 else "1 slice lies"
    words = f"{some} where another of the same pixel data lies, and each was used once; not used: {named(repeats)}"
    return Note(NoteKind.REPEATED, words)


def same_instance(first: Instance, second: Instance, isolated: IsolatedGdcm) -> tuple[Note, ...]:
    """Compare two instances of one SOP Instance UID; the first may be used where this returns, with what is noted.

    Raises ImageError where they differ in what an image is made of: which of them is meant can't be known.
    """
    if first.digest == second.digest:
        return ()  # without having both, of gigabytes each, in memory
    with refusing_as_image_error(first.uid, second.header):
        one, other = first.with_pixels(), second.with_pixels()
        differing = _differing(one, other)
        crucial = {name for group, name in differing.items() if BaseTag(group).group in IMAGE_GROUPS}
        if _syntax(one) != _syntax(other) and crucial <= {PIXEL_DATA} and _same_frames(first, second, isolated):
            crucial = set()
        if crucial:
            names = ", ".join(sorted(crucial)[:5]) + (" and others" if len(crucial) > 5 else "")
            raise ImageError(
                f"instance {first.uid}: expected one image of this SOP Instance UID, found two that differ in {names}",
                advice="Find out which of them is right, and send that one under a SOP Instance UID of its own.",
            )
    names = ", ".join(sorted(set(differing.values()) - {PIXEL_DATA}))
    if not names:
        return ()
    words = f"instance {first.uid} came twice, with the same image and another {names}; the first is used"
    return (Note(NoteKind.REPEATED, words),)


def _first_sent(member: Member) -> tuple[int, str]:
    """Which of two like slices is used: that of the lower Instance Number, in whatever order they come."""
    number = member.instance_number
    return (sys.maxsize if number is None else number, member.instance.uid)


def _differing(one: Dataset, other: Dataset) -> dict[int, str]:
    """Tag and name of each element that only one data set has, or both with other values."""
    tags = sorted({*one.keys(), *other.keys()})
    return {
        int(tag): attribute_name(tag) for tag in tags if not (tag in one and tag in other and _equal(one, other, tag))
    }


def _equal(one: Dataset, other: Dataset, tag: BaseTag) -> bool:
    raw = [getattr(data.get_item(tag), "value", None) for data in (one, other)]
    return bool(raw[0] == raw[1] or one[tag] == other[tag])


def _syntax(data: Dataset) -> str:
    meta = getattr(data, "file_meta", None)
    return "" if meta is None else str(meta.get("TransferSyntaxUID", ""))


def _same_frames(first: Instance, second: Instance, isolated: IsolatedGdcm) -> bool:
    """Whether both give the same stored values, however they are compressed."""
    if first.frame_count != second.frame_count:
        return False
    numbers = list(range(1, first.frame_count + 1))
    one, other = (
        stored_frames(instance.with_pixels(), instance.uid, numbers, isolated) for instance in (first, second)
    )
    return all(np.array_equal(a.values, b.values) for a, b in zip(one, other, strict=True))


def _digest(member: Member) -> str | None:
    """What two single-frame instances share only if their pixel data and its description are the same.

    None where that can't be told.
    """
    if member.instance.frame_count > 1:
        return None
    try:
        with refusing_as_image_error(member.instance.uid):
            data = member.instance.with_pixels()
            digest = hashlib.sha256(_syntax(data).encode())
            for tag in sorted(data.keys()):
                if tag.group in PIXEL_GROUPS:
                    value = data[tag].value
                    digest.update(f"{tag}:".encode())
                    digest.update(value if isinstance(value, bytes) else str(value).encode())
            return digest.hexdigest()
    except WhyRayError:
        return None
