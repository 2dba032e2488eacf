"""A frame as displayed, at a size of the page: made once for all pages of an answer that show it."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from whyray.imaging import SourceImage
from whyray.results.page.overlay import Picture, Size, plain

_MOST_KEPT = 4
"""Pictures: of a radiograph the one of its pages and the one of its first page, and as many of the image before."""


@dataclass
class _Kept:
    """The last pictures, each by its image, its frame and its size. An image that is gone takes its pictures along."""

    pictures: OrderedDict[tuple[int, int, Size], tuple[weakref.ref[SourceImage], Picture]] = field(
        default_factory=OrderedDict
    )
    lock: Lock = field(default_factory=Lock)

    def get(self, image: SourceImage, index: int, size: Size) -> Picture:
        place = (id(image), index, size)
        with self.lock:
            found = self.pictures.get(place)
            if found is not None and found[0]() is image:
                self.pictures.move_to_end(place)
                return found[1]
        made = plain(image.display[index], size)
        made.flags.writeable = False
        with self.lock:
            for key, (of, _) in list(self.pictures.items()):
                if of() is None:
                    del self.pictures[key]
            self.pictures[place] = (weakref.ref(image), made)
            while len(self.pictures) > _MOST_KEPT:
                self.pictures.popitem(last=False)
        return made


_kept = _Kept()


def frame_picture(image: SourceImage, index: int, size: Size) -> Picture:
    """The frame (its index) of an image as displayed, RGB of `size`; nobody can write to it."""
    return _kept.get(image, index, size)
