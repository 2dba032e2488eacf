"""`layout.yaml`: how pages are drawn, and forms of Segmentation objects."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from whyray.results.template_parts import Colour
from whyray.results.template_text import Strict


class PageLayout(Strict):
    """Sizes of a page in its own pixels."""

    width_at_most: int = Field(ge=640, le=8192)
    margin: int = Field(ge=0, le=200)
    panel_at_least: int = Field(ge=64, le=4096)
    panel_height_at_most: int = Field(ge=64, le=8192)


class VolumeLayout(Strict):
    """How a volume becomes pages; `apart` is the least distance of two key slices, in slices."""

    pages: Literal["montage", "series", "multiframe"]
    key_slices: int = Field(ge=1, le=16)
    apart: int = Field(ge=1)


class FramesLayout(Strict):
    """Pages about frames of a multi-frame instance, of which there are many: they are narrower than others."""

    width_at_most: int = Field(default=1100, ge=640, le=8192)


class ColourMaps(Strict):
    """Names of matplotlib's colour maps; rainbow maps, which show edges that are not there, are refused."""

    unsigned: Literal["inferno", "viridis", "magma", "plasma", "cividis"]
    signed: Literal["coolwarm", "RdBu_r", "PuOr_r", "berlin", "managua", "vanimo"]


class Opacity(Strict):
    """Clear below `from` (share of the maximum), linear to `top` at the maximum; outside the region of a finding
    `around` times that."""

    start: float = Field(alias="from", ge=0, lt=1)
    top: float = Field(gt=0, le=1)
    around: float = Field(default=0.3, ge=0, le=1)


class Contour(Strict):
    """The outline of a region; `width` in pixels of the page."""

    colour: Colour
    width: int = Field(ge=1, le=16)


class Colours(Strict):
    """Colours of a page; `on_image` are letters and scale bars within pictures."""

    background: Colour
    text: Colour
    on_image: Colour
    faint: Colour
    green: Colour
    amber: Colour
    red: Colour


class Fonts(Strict):
    """Font files; the first that holds all characters of a text is taken."""

    regular: tuple[str, ...] = Field(min_length=1)
    bold: tuple[str, ...] = Field(min_length=1)


class SegmentationLayout(Strict):
    """Options of Segmentation objects."""

    omit_empty_frames: bool
    fractional: bool = False
    """The heatmaps too, as fractional segments."""
    label_maps: bool = False
    """Segments that don't overlap as Label Map Segmentations, which few viewers know yet."""


class Paper(Strict):
    """Sheets of the printable report."""

    sheet: Literal["a4", "letter"]
    colours: Colours


class Layout(Strict):
    """`layout.yaml`."""

    page: PageLayout
    volume: VolumeLayout
    frames: FramesLayout = FramesLayout()
    colour_maps: ColourMaps
    opacity: Opacity
    contour: Contour
    colours: Colours
    fonts: Fonts
    segmentation: SegmentationLayout
    finding: Literal["beside", "overlay"] = "beside"
    """A finding's page: the original beside the overlay, or the overlay alone."""
    details: Literal["by_audience", "always", "never"] = "by_audience"
    """Pages with every measurement: for scientists, for everyone, for nobody."""
    compare: tuple[Literal["methods", "targets"], ...] = ()
    """Pages more, side by side: the methods of each finding, the findings of each method."""
    paper: Paper
