"""What results show of a map made before their words are known: beside the model's passes that measure the map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from whyray.base.frame_array import Frames
from whyray.config import Audience, ResultKind
from whyray.imaging import SourceImage
from whyray.results.outlines import largest_outline
from whyray.results.page.finding import planar_panel_size
from whyray.results.page.frame_picture import frame_picture
from whyray.results.page.map_overlay import MOST_AHEAD, MapOverlay
from whyray.results.page.summary import thumbnail_background, thumbnail_layout, thumbnail_side
from whyray.results.template_layout import Layout


@dataclass
class ShownAhead:
    """Draws what the pages of a run's findings will show of maps of planar images, and finds what the report outlines.

    Results are the same as without. `layout` is that of the pages; None where none are made. Of a finding its first map
    is on the first page too.
    """

    layout: Layout | None
    report: bool
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
        """Make it of a map of `target`, (1, rows, columns); no picture where enough wait to be asked for."""
        if image.kind != "planar":
            return
        if self.layout is not None and self._drawn + 2 <= MOST_AHEAD:
            overlay = partial(MapOverlay, values, covered, region, max(float(values.max()), 0.0))
            self._draw(target, image, overlay, self.layout)
        if self.report and region.any():
            largest_outline(region, 0)

    def _draw(self, target: str, image: SourceImage, overlay: Callable[[Layout], MapOverlay], layout: Layout) -> None:
        page = frame_picture(image, 0, planar_panel_size(image, layout))
        overlay(layout).draw_ahead(page, 0)
        self._drawn += 1
        if target not in self._on_first_page:
            self._on_first_page.add(target)
            thumbnail = thumbnail_background(image, 0, thumbnail_side(layout))
            overlay(thumbnail_layout(layout)).draw_ahead(thumbnail, 0)
            self._drawn += 1


def shown_ahead(layout: Layout, kinds: Sequence[ResultKind], audience: Audience) -> ShownAhead:
    """What is made ahead for results of these kinds."""
    return ShownAhead(layout if "sc" in kinds and audience != "administrator" else None, "sr" in kinds)
