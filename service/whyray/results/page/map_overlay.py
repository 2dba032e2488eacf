"""What speaks for a finding laid over a frame: drawn when a page asks for it, or ahead, while its map is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whyray.base.frame_array import Frames
from whyray.results.page.overlay import Picture, dimmed_where_unseen, with_finding
from whyray.results.remembered import Remembered
from whyray.results.template_layout import Layout

MOST_AHEAD = 12
"""Pictures that are kept until a page asks for them: of six findings, each on its page and on the first."""
_ahead: Remembered[Picture] = Remembered(MOST_AHEAD)


@dataclass(frozen=True)
class MapOverlay:
    """Lays a map, (frames, rows, columns) of the source, over the picture of a frame, its region outlined.

    `top`: the value at the end of the colour scale, which begins at 0.
    """

    values: Frames[np.float32]
    covered: Frames[np.bool_]
    region: Frames[np.bool_]
    top: float
    layout: Layout

    def __call__(self, background: Picture, index: int) -> Picture:
        """The picture of a frame, and its index, with the map over it; nobody can write to it."""
        return _ahead.taken(self._objects(background), self._key(index), lambda: self._drawn(background, index))

    def draw_ahead(self, background: Picture, index: int) -> None:
        """Draw it for who will ask for it on this very background."""
        _ahead.of(self._objects(background), self._key(index), lambda: self._drawn(background, index))

    def _objects(self, background: Picture) -> tuple[object, ...]:
        return background, self.values, self.covered, self.region

    def _key(self, index: int) -> tuple[object, ...]:
        layout = self.layout
        return index, self.top, layout.opacity, layout.contour, layout.colour_maps

    def _drawn(self, background: Picture, index: int) -> Picture:
        seen = dimmed_where_unseen(background, self.covered[index])
        picture = with_finding(seen, self.values[index], self.region[index], self.top, self.layout)
        picture.flags.writeable = False
        return picture
