"""What is written quickly is a PNG file that others read, pixel by pixel the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from whyray.results.png import png_file


def picture(rows: int, columns: int) -> np.ndarray:
    """Noise, which no filter makes smaller, over a ramp."""
    noise = np.random.default_rng(rows * 7 + columns).integers(0, 256, (rows, columns, 3), np.uint8)
    noise[: rows // 2] = np.linspace(0, 255, columns, dtype=np.uint8)[None, :, None]
    return noise


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (64, 33), (300, 501)])
def test_others_read_the_very_pixels(shape: tuple[int, int]) -> None:
    made = picture(*shape)
    with Image.open(io.BytesIO(png_file(made)), formats=["PNG"]) as read:
        read.load()
        assert (read.mode, read.size) == ("RGB", shape[::-1])
        np.testing.assert_array_equal(np.asarray(read), made)


def test_a_view_of_a_larger_picture_is_written_as_it_is_seen() -> None:
    seen = picture(40, 60)[3:30:2, ::-1]
    with Image.open(io.BytesIO(png_file(seen))) as read:
        np.testing.assert_array_equal(np.asarray(read), seen)


def verified(file: bytes) -> None:
    """Read all checksums; raises where one is wrong."""
    with Image.open(io.BytesIO(file)) as read:
        read.verify()


def test_every_checksum_is_right() -> None:
    file = bytearray(png_file(picture(20, 20)))
    verified(bytes(file))
    file[60] ^= 1
    with pytest.raises(SyntaxError, match="checksum"):
        verified(bytes(file))


NO_PICTURES = [
    np.zeros((4, 4), np.uint8),
    np.zeros((4, 4, 4), np.uint8),
    np.zeros((4, 4, 3)),
    np.zeros((0, 4, 3), np.uint8),
]


@pytest.mark.parametrize("wrong", NO_PICTURES)
def test_what_is_no_picture_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        png_file(wrong)
