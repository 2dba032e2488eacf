"""Pictures for readers: the image as a viewer shows it, and pages of explanations."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from whyray.base.errors import ImageError
from whyray.imaging import SourceImage

LONGEST_SIDE = 1400
_GAP = 8


def plain_picture(image: SourceImage, frames: Sequence[int]) -> bytes:
    """PNG of these frames side by side, 8 bits a channel, at most `LONGEST_SIDE` pixels wide or high.

    Raises ImageError where the image says that text is burned into it, or is of a kind that usually has some.
    """
    for index in frames:
        header = image.headers[image.frames[index].sop_instance_uid]
        burned = str(header.get("BurnedInAnnotation", "")).upper()
        if burned == "YES" or (burned != "NO" and header.get("Modality") in ("US", "OT", "SC", "XC", "ES")):
            raise ImageError(
                f"instance {image.frames[index].sop_instance_uid}: text is burned into its pixels, or may be",
                advice="Leave this case out, or give a de-identified image whose Burned In Annotation says NO.",
            )
    columns = math.ceil(math.sqrt(len(frames)))
    rows = math.ceil(len(frames) / columns)
    tiles = [_tile(image, index, LONGEST_SIDE // max(columns, rows)) for index in frames]
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * (width + _GAP), number // columns * (height + _GAP)))
    return _png(sheet if image.display.ndim == 4 else sheet.convert("L"))


def _tile(image: SourceImage, index: int, longest: int) -> Image.Image:
    frame = image.frames[index]
    tile = Image.fromarray(np.rint(image.display[index].clip(0, 1) * 255).astype(np.uint8)).convert("RGB")
    # pixels that are not square are drawn as they lie in the patient
    height = tile.height * frame.pixel_aspect
    scale = min(1.0, longest / max(tile.width, height))
    return tile.resize((max(1, round(tile.width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS)


def blinded_page(png: bytes) -> bytes:
    """A page of results as PNG, without anything but pixels; these bear neither a name nor a date."""
    with Image.open(io.BytesIO(png)) as picture:
        return _png(picture.convert("RGB"))


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()
