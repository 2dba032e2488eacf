"""A frame as displayed, at a size of the page: made once for all pages of an answer that show it."""

from __future__ import annotations

from whyray.imaging import SourceImage
from whyray.results.page.map_overlay import MOST_AHEAD
from whyray.results.page.overlay import Picture, Size, plain
from whyray.results.remembered import Remembered

_pictures: Remembered[Picture] = Remembered(2 * MOST_AHEAD)
"""What is drawn ahead lies on these very pictures: that of each image's pages and that of the first page, and beside
them as many of images of which nothing is drawn ahead."""


def frame_picture(image: SourceImage, index: int, size: Size) -> Picture:
    """The frame (its index) of an image as displayed, RGB of `size`; nobody can write to it."""

    def made() -> Picture:
        picture = plain(image.display[index], size)
        picture.flags.writeable = False
        return picture

    return _pictures.of((image.display,), (index, size), made)  # the same pixels, whatever else is said of an image
