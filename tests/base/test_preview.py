"""Pictures in small."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from whyray.base.preview import preview_of, preview_of_png


@pytest.mark.parametrize(
    ("size", "width", "small"),
    [
        ((1955, 2400), 480, (480, 589)),
        ((300, 200), 480, (300, 200)),
        ((960, 1), 480, (480, 1)),
        ((10, 5000), 100, (1, 400)),
    ],
)
def test_a_picture_keeps_its_shape_and_is_never_enlarged(
    size: tuple[int, int], width: int, small: tuple[int, int]
) -> None:
    picture = Image.new("RGB", size, "navy")
    made = Image.open(io.BytesIO(preview_of(picture, width)))
    assert (made.size, made.mode, made.getpixel((0, 0))) == (small, "RGB", (0, 0, 128))
    whole = io.BytesIO()
    picture.save(whole, "PNG")
    whole.seek(0)
    assert preview_of_png(whole, width) == preview_of(picture, width)
    assert picture.size == size
