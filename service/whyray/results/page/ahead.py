"""Pictures of pages drawn before their words are known: beside the model's passes that measure the map."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from whyray.base.frame_array import Frames
from whyray.imaging import SourceImage
from whyray.results.page.finding import planar_panel_size
from whyray.results.page.frame_picture import frame_picture
from whyray.results.page.map_overlay import MOST_AHEAD, MapOverlay
from whyray.results.page.summary import thumbnail_background, thumbnail_layout, thumbnail_side
from whyray.results.template_layout import Layout


@dataclass
class PagesAhead:
    """Draws what the pages of a run's findings will show of planar images; the same pictures as without.

    `layout` is that of the pages. Of a finding its first map is on the first page too.
    """

    layout: Layout
    _drawn: int = 0
    _on_first_page: set[str] = field(default_factory=set)

    def __call__(
        self,
        target: str,
        image: SourceImage,
        values: Frames[np.float32],
        covered: Frames[np.bool_],
        region: Frames[np.bool_],
    ) -> None:
        """Draw a map of `target`, (1, rows, columns); nothing where enough wait to be asked for."""
        if image.kind != "planar" or self._drawn + 2 > MOST_AHEAD:
            return
        top, layout = max(float(values.max()), 0.0), self.layout
        page = frame_picture(image, 0, planar_panel_size(image, layout))
        MapOverlay(values, covered, region, top, layout).draw_ahead(page, 0)
        self._drawn += 1
        if target not in self._on_first_page:
            self._on_first_page.add(target)
            thumbnail = thumbnail_background(image, 0, thumbnail_side(layout))
            MapOverlay(values, covered, region, top, thumbnail_layout(layout)).draw_ahead(thumbnail, 0)
            self._drawn += 1
