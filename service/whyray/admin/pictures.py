"""Small versions of overlay pictures for lists."""

from __future__ import annotations

import io
from functools import lru_cache


@lru_cache(maxsize=256)
def thumbnail(png: bytes, width: int) -> bytes:
    """The picture reduced to `width` pixels, its aspect ratio kept; never enlarged. PNG in, PNG out."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        picture.thumbnail((width, 4 * width), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        picture.save(out, "PNG", optimize=True)
    return out.getvalue()
