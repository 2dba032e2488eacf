"""Small versions of pictures, as lists show them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

PREVIEW_WIDTH = 480
"""Pixels: what a list is given, and what is kept beside each picture."""


def preview_of(picture: Image.Image, width: int = PREVIEW_WIDTH) -> bytes:
    """A PNG of the picture reduced to `width` pixels, its aspect ratio kept; never enlarged. The picture is left alone.

    Of a picture much larger, blocks of pixels are averaged first, which costs a fraction and can't be told by eye.
    """
    from PIL import Image

    small = picture.convert("RGB") if picture.mode == "P" else picture
    scale = min(1.0, width / small.width, 4 * width / small.height)
    if scale < 1.0:
        size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
        small = small.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.5)
    out = io.BytesIO()
    # the higher levels take five times as long for pictures of equal size
    small.save(out, "PNG", compress_level=1)
    return out.getvalue()


def preview_of_png(file: BinaryIO, width: int) -> bytes:
    """The same of a PNG in a file."""
    from PIL import Image

    with Image.open(file) as picture:
        return preview_of(picture, width)
