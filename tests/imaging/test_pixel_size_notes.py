"""A pixel size that can't be one is told in the words that a reader needs: that nothing is measured in mm."""

from __future__ import annotations

import numpy as np
import pytest

from synthetic import radiograph
from whyray.imaging import NoteKind, read_images


def notes_of(**attributes: object) -> list[tuple[NoteKind, str]]:
    data = radiograph(np.full((64, 56), 300, np.uint16), window=(2048, 4096))
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        if keyword in data:
            delattr(data, keyword)
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    (image,) = read_images([data]).or_raise()
    return [(note.kind, note.detail) for note in image.notes if "size of a pixel" in note.detail]


def test_where_nothing_else_gives_the_size_sizes_are_not_given() -> None:
    ((kind, detail),) = notes_of(PixelSpacing=[0, 0])
    assert kind is NoteKind.NO_PIXEL_SIZE
    assert "Pixel Spacing (0028,0030)" in detail


def test_where_another_attribute_gives_it_the_unusable_one_is_passed_over() -> None:
    ((kind, _),) = notes_of(PixelSpacing=[0, 0], ImagerPixelSpacing=[0.2, 0.2])
    assert kind is NoteKind.ATTRIBUTE_IGNORED


@pytest.mark.parametrize("usable", [{}, {"PixelSpacing": [0.2, 0.2]}])
def test_a_size_that_is_usable_or_absent_is_no_note(usable: dict[str, object]) -> None:
    assert notes_of(**usable) == []
