"""How large an image may be: what it would take is compared with what there is before any of it is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence

from whyray.base.errors import ImageError, ResourceExhausted
from whyray.base.free_memory import memory_left
from whyray.imaging.decode import PLAUSIBLE_FRAME
from whyray.imaging.pixel_description import pixel_description
from whyray.imaging.stack import Member

LARGEST = 4 << 30
"""Bytes of stored pixels that one image may have: 8,192 slices of 512 x 512 of 16 bits."""
NEEDED = 2.0
"""Bytes that explaining an image takes for each byte of its stored pixels, beside what every job takes: what
tests/benchmarks/volume_memory.py measures of head CTs, rounded up."""
NEEDED_A_PIXEL = 32
"""Bytes that it takes besides for each pixel of a frame: values, what is shown, maps in the source. Of a slice of CT
that is nothing, of a mammogram most: what tests/benchmarks/large_images.py measures of those."""


def refuse_too_large(members: Sequence[Member]) -> None:
    """Refuse frames that are read together where they are more than an image may be, or than there is memory for.

    Raises ImageError in the first case, ResourceExhausted in the second.
    """
    stored = sum(_bytes_of_frame(member) for member in members)
    first = members[0]
    rows, columns = first.instance.shape
    what = f"{len(members)} frames of {rows} x {columns} pixels, {stored >> 20} MiB"
    if stored > LARGEST:
        raise ImageError(
            f"series {first.instance.series}: expected at most {LARGEST >> 20} MiB of pixels in an image, found {what}",
            advice="Reconstruct it in thicker slices, or send the part that the package is for.",
        )
    # a frame of more is doubted where it is decoded: one that is damaged is to be refused for good, not for now
    needed = int(NEEDED * stored) + NEEDED_A_PIXEL * min(rows * columns, PLAUSIBLE_FRAME)
    left = memory_left()
    if left is not None and needed > left:
        raise ResourceExhausted(
            f"series {first.instance.series}: {what}, need some {needed >> 20} MiB of memory, and {left >> 20} MiB are "
            "left",
            advice="Give the machine more memory, or raise workers.memory.",
        )


def _bytes_of_frame(member: Member) -> int:
    pixels = pixel_description(member.instance.header)
    return pixels.rows * pixels.columns * pixels.samples * math.ceil(pixels.bits_allocated / 8)
