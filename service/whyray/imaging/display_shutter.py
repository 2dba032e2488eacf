"""The display shutter of an image: what it hides from who looks at it (PS3.3 sections C.7.6.11 and C.7.6.16.2.16).

It belongs to what is shown, not to the values: pixels keep theirs in modality units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw
from pydicom import Dataset

from whyray.base.arrays import BoolArray
from whyray.imaging.attributes import attribute_name, decimal_numbers, written_texts, written_value
from whyray.imaging.functional_groups import group_item
from whyray.imaging.geometry import pixel_aspect_ratio
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.pixel_spacing import pixel_spacing

_EDGES = (
    *("ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge"),
    *("ShutterLeftVerticalEdge", "ShutterRightVerticalEdge"),
)
_CIRCLE = ("CenterOfCircularShutter", "RadiusOfCircularShutter")
_VERTICES = "VerticesOfThePolygonalShutter"
_WHITE = 65535.0


@dataclass(frozen=True)
class DisplayShutter:
    """What of a frame is not shown: beyond the edges, or the circle, or the polygon, or any of them.

    Attributes
    ----------
    shape
        (rows, columns) of the frame.
    edges
        First and last row, first and last column that are shown, from 1.
    circle
        (row, column, radius), from 1; the radius counts pixels along a row.
    vertices
        Row and column of each corner of a polygon, from 1.
    aspect
        Height over width of a pixel.
    shown
        What is shown instead, 0 (black) to 1.
    """

    shape: tuple[int, int]
    edges: tuple[float, ...] | None
    circle: tuple[float, ...] | None
    vertices: tuple[float, ...] | None
    aspect: float
    shown: float

    @property
    def hidden(self) -> BoolArray:
        """(rows, columns): True where it hides; not to be written to."""
        return _hidden(self)


def display_shutter(header: Dataset, frame_number: int) -> tuple[DisplayShutter | None, tuple[Note, ...]]:
    """The shutter of a frame, its own before the image's, and what is to be told; None where nothing is hidden.

    One that lacks what its shape needs, or leaves nothing to see, is passed over, and told.
    """
    holder = group_item(header, frame_number, "FrameDisplayShutterSequence")
    holder = header if holder is None else holder
    shapes = [shape for shape in written_texts(holder, "ShutterShape") if shape]
    if not shapes:
        return None, ()
    needs = {"RECTANGULAR": _EDGES, "CIRCULAR": _CIRCLE, "POLYGONAL": (_VERTICES,)}
    given = {shape: _numbers(holder, needs.get(shape, ())) for shape in shapes}
    shutter = None
    if all(given.values()):
        spacing = pixel_spacing(header, frame_number) or pixel_aspect_ratio(header) or (1.0, 1.0)
        value = decimal_numbers(holder, "ShutterPresentationValue")
        shutter = DisplayShutter(
            shape=(int(header.Rows), int(header.Columns)),
            edges=given.get("RECTANGULAR"),
            circle=given.get("CIRCULAR"),
            vertices=given.get("POLYGONAL"),
            aspect=spacing[0] / spacing[1],
            shown=min(max((value[0] if value else None) or 0.0, 0.0), _WHITE) / _WHITE,
        )
    if shutter is None or shutter.hidden.all():
        words = (
            f"{attribute_name('ShutterShape')} {written_value(holder, 'ShutterShape')} can't be applied: passed over"
        )
        return None, (Note(NoteKind.ATTRIBUTE_IGNORED, words),)
    share = float(shutter.hidden.mean())
    if not share:
        return None, ()
    words = f"{attribute_name('ShutterShape')} {written_value(holder, 'ShutterShape')} hides {share:.2%} of the pixels"
    return shutter, (Note(NoteKind.SHUTTER, words),)


def _numbers(holder: Dataset, keywords: Sequence[str]) -> tuple[float, ...] | None:
    """The values that a shape needs; None where one is missing or there are as many as can't be right."""
    values = [value for keyword in keywords for value in decimal_numbers(holder, keyword)]
    right = len(values) >= 6 and len(values) % 2 == 0 if _VERTICES in keywords else len(values) == len(keywords)
    if "CenterOfCircularShutter" in keywords:
        right = len(values) == 3
    if not right or not values or any(value is None for value in values):
        return None
    return tuple(float(value) for value in values if value is not None)


@lru_cache(maxsize=4)  # all frames of a run have the same
def _hidden(shutter: DisplayShutter) -> BoolArray:
    rows, columns = (np.arange(1, size + 1, dtype=np.float64) for size in shutter.shape)
    hidden = np.zeros(shutter.shape, np.bool_)
    if shutter.edges is not None:
        top, bottom, left, right = shutter.edges
        hidden |= ((rows < top) | (rows > bottom))[:, None] | ((columns < left) | (columns > right))[None]
    if shutter.circle is not None:
        row, column, radius = shutter.circle
        hidden |= ((rows - row) * shutter.aspect)[:, None] ** 2 + (columns - column)[None] ** 2 > radius**2
    if shutter.vertices is not None:
        inside = Image.new("1", shutter.shape[::-1])
        corners = np.reshape(shutter.vertices, (-1, 2))[:, ::-1] - 1
        ImageDraw.Draw(inside).polygon([tuple(corner) for corner in corners.tolist()], fill=1, outline=1)
        hidden |= ~np.asarray(inside, np.bool_)
    hidden.flags.writeable = False
    return hidden
