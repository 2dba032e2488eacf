"""Small versions of pictures, as lists show them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

PREVIEW_WIDTH = 480
"""Pixels: what a list is given, and what is kept beside each picture."""


def preview_of(picture: Image.Image, width: int = PREVIEW_WIDTH) -> bytes:
    """A PNG of what `reduced` gives."""
    out = io.BytesIO()
    # the higher levels take five times as long for pictures of equal size
    reduced(picture, width).save(out, "PNG", compress_level=1)
    return out.getvalue()


def reduced(picture: Image.Image, width: int = PREVIEW_WIDTH) -> Image.Image:
    """The picture reduced to `width` pixels, its aspect ratio kept; never enlarged. The picture is left alone."""
    from PIL import Image

    small = picture.convert("RGB") if picture.mode == "P" else picture
    scale = min(1.0, width / small.width, 4 * width / small.height)
    if scale == 1.0:
        return small
    size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
    # half the time of Lanczos', and at this size as sharp to the eye
    return small.resize(size, Image.Resampling.HAMMING)


def preview_of_png(file: BinaryIO, width: int) -> bytes:
    """The same of a PNG in a file."""
    from PIL import Image

    with Image.open(file) as picture:
        return preview_of(picture, width)
