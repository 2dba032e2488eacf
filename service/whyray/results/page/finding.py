"""The page of a finding: its image beside what explains it, and three sentences: what, where, how far to trust it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from whyray.base.arrays import DoubleArray
from whyray.base.frame_array import Frames
from whyray.imaging import SourceImage, frame_orientation
from whyray.results.answer import Answer, Finding, GradedExplanation, MapInSource
from whyray.results.page.frame_picture import frame_picture
from whyray.results.page.key_slices import key_slices
from whyray.results.page.layout import Line, Page, Panel, Words, compose, panel_size
from whyray.results.page.locator import locator
from whyray.results.page.map_overlay import MapOverlay
from whyray.results.page.marks import badge_not_shown, badge_of
from whyray.results.page.overlay import Picture, with_mask
from whyray.results.page.said import (
    about_words,
    foot_of,
    is_called,
    name_of,
    number_of,
    probability_of,
    scale_bar,
    title_of,
)
from whyray.results.place import place_in_words
from whyray.results.strengths import strengths_of_mask
from whyray.results.template_layout import Layout
from whyray.results.trust import method_title_in, trust_in
from whyray.results.wording import Wording

SENTENCE = 1.2
"""Letters of the sentences that are read first, in those of the text."""
_MONTAGE = 1.2
"""Height of a montage, in that of a page's one picture."""
_LOCATOR = 0.2
"""Width of the view that shows where slices lie, in the page's."""
Overlaid = Callable[[Picture, int], Picture]
"""From the picture of a frame, and its index, to the same picture with something laid over it."""


def map_pages(answer: Answer, finding: Finding, heatmap: MapInSource, layout: Layout, wording: Wording) -> list[Page]:
    """The pages of one explanation: the image beside what speaks for the finding; of a volume its key slices.

    One page for a planar image or a montage; one a key slice, in the order of the slices, for `series` and
    `multiframe`. Of a map that is part of another explanation it shows what that map is: how far to trust it, and what
    it means for the finding, that explanation's own page says.
    """
    alone = heatmap.part is None
    trust = trust_in(heatmap.card, wording) if alone else None
    words = Words(
        title=name_of(finding, wording),
        subtitle=about_words(answer, finding, wording),
        badge=None if trust is None else badge_of(trust),
        banner=None,
        legend=[
            *_sentences(
                (
                    what_words(answer, finding, heatmap, wording),
                    where_words(answer, finding, heatmap, wording),
                    (trust.sentence or "") if trust else "",
                ),
                layout,
            ),
            *(
                [Line(trust.record, layout.colours.text)]
                if trust and trust.record not in (None, trust.sentence)
                else []
            ),
            *([] if heatmap.covered.all() else [Line(wording.unseen, layout.colours.faint)]),
            *foot_of(answer, layout, wording, scaled=True),
        ],
        probability=probability_of(finding, wording),
    )
    slices = shown_slices(answer.image, lambda: heatmap.frame_strengths, layout)
    caption = (
        highlighted_words(answer, finding, heatmap, wording) if alone else method_title_in(heatmap.method, wording)
    )
    return _pages(answer.image, slices, words, caption, overlay_of(heatmap, layout), layout, wording)


def overlay_of(heatmap: MapInSource, layout: Layout) -> MapOverlay:
    """Lays what speaks for the finding over the picture of a frame, the region outlined."""
    return MapOverlay(heatmap.values, heatmap.covered, heatmap.region, heatmap.top, layout)


def planar_panel_size(image: SourceImage, layout: Layout) -> tuple[int, int]:
    """(width, height) of the pictures on the page of a finding of a planar image."""
    frame = image.frames[0]
    return panel_size(frame.shape, frame.pixel_aspect, 1 if layout.finding == "overlay" else 2, layout)


def shown_slices(image: SourceImage, strengths: Callable[[], DoubleArray], layout: Layout) -> list[int]:
    """Which frames a page shows: the one of a planar image, of a volume its key slices in their order."""
    return [0] if image.kind == "planar" else sorted(key_slices(strengths(), layout))


def mask_pages(
    answer: Answer, finding: Finding, mask: Frames[np.bool_], layout: Layout, wording: Wording
) -> list[Page]:
    """The pages of a segment: how large it is, where it lies, and its outline; of a volume on its key slices.

    Where it has maps that are withheld, and none that is shown, they say that and why.
    """
    withheld = [heatmap for heatmap in finding.heatmaps if heatmap.card.withheld]
    is_silent = bool(withheld) and len(withheld) == len(finding.heatmaps)
    place = place_in_words(answer, finding, mask, wording)
    words = Words(
        title=title_of(answer, finding, wording),
        subtitle=about_words(answer, finding, wording),
        badge=badge_not_shown(wording) if is_silent else None,
        banner=None,
        legend=[
            *_sentences(
                (
                    wording.pages.found.format(name=name_of(finding, wording))
                    if finding.present
                    else wording.segment_empty,
                    wording.pages.segment_lies.format(place=place) if place else "",
                    *(_why_all_withheld(withheld, wording) if is_silent else ()),
                ),
                layout,
            ),
            *foot_of(answer, layout, wording, scaled=True),
        ],
    )
    slices = shown_slices(answer.image, lambda: strengths_of_mask(mask), layout)
    caption = wording.pages.outlined.format(name=name_of(finding, wording))
    return _pages(
        answer.image, slices, words, caption, lambda at, index: with_mask(at, mask[index], layout), layout, wording
    )


def notice_page(
    answer: Answer,
    finding: Finding,
    withheld: Sequence[MapInSource | GradedExplanation],
    layout: Layout,
    wording: Wording,
) -> Page:
    """A page without any picture: the finding, and why its explanations are not shown."""
    colours = layout.colours
    named = any(not graded.card.withheld for graded in finding.explanations)
    sentences = _why_all_withheld(withheld, wording, named=named)
    lines = [Line(sentence, colours.text, SENTENCE) for sentence in sentences]
    if withheld:
        lines.append(Line(wording.pages.finding_stands, colours.text, SENTENCE))
    for method, refusal in finding.refused.items():
        reason = wording.refusals.clause(refusal)
        lines.append(
            Line(wording.refused_because.format(method=method_title_in(method, wording), reason=reason), colours.text)
        )
    words = Words(
        title=name_of(finding, wording),
        subtitle=about_words(answer, finding, wording),
        badge=badge_not_shown(wording),
        banner=None,
        legend=[
            Line(wording.withheld if withheld else wording.refused, colours.text, SENTENCE, bold=True),
            *lines,
            *foot_of(answer, layout, wording),
        ],
        probability=probability_of(finding, wording),
    )
    return compose(words, [], 1, None, layout)


def _why_all_withheld(
    withheld: Sequence[MapInSource | GradedExplanation], wording: Wording, *, named: bool = False
) -> list[str]:
    """Why each is not shown, with its method where `named` or where they are of several methods."""
    named = named or len({graded.method for graded in withheld}) > 1
    return list(dict.fromkeys(_why_withheld(graded, wording, named=named) for graded in withheld))


def _why_withheld(graded: MapInSource | GradedExplanation, wording: Wording, *, named: bool) -> str:
    """Why it is not shown; `named`: with its method, where the page has to tell it from another."""
    sentence = trust_in(graded.card, wording).sentence or ""
    return f"{method_title_in(graded.method, wording)}  ·  {sentence}" if named else sentence


def highlighted_words(answer: Answer, finding: Finding, heatmap: MapInSource, wording: Wording) -> str:
    """What is highlighted: of a map in which nothing speaks for the finding, nothing."""
    words = wording.pages
    if not place_in_words(answer, finding, heatmap.region, wording):
        return words.nothing_highlighted
    return words.highlighted if is_called(finding) else words.nearest


def what_words(answer: Answer, finding: Finding, heatmap: MapInSource, wording: Wording) -> str:
    """That the finding was found or not, or what was measured."""
    name, words = name_of(finding, wording), wording.pages
    if finding.probability is None and finding.mask is None:
        return words.measured.format(name=name, value=number_of(answer, finding, wording))
    if finding.present:
        return words.found.format(name=name)
    nearest = place_in_words(answer, finding, heatmap.region, wording)
    return (words.not_reached if nearest else words.absent).format(name=name)


def where_words(answer: Answer, finding: Finding, heatmap: MapInSource, wording: Wording) -> str:
    """Where what speaks for the finding lies; of a map that is part of another explanation, where that map does."""
    place = place_in_words(answer, finding, heatmap.region, wording)
    alone = heatmap.part is None
    lies = wording.pages.lies if alone and is_called(finding) else wording.pages.nearest_lies
    return lies.format(place=place) if place else wording.pages.nowhere if alone else ""


def _sentences(sentences: Sequence[str], layout: Layout) -> list[Line]:
    return [Line(sentence, layout.colours.text, SENTENCE) for sentence in sentences if sentence]


def _pages(
    image: SourceImage,
    slices: Sequence[int],
    words: Words,
    caption: str,
    overlaid: Overlaid,
    layout: Layout,
    wording: Wording,
) -> list[Page]:
    located = image.kind == "volume" and layout.volume.pages == "montage"
    montage = located and len(slices) > 1
    alone = montage or layout.finding == "overlay"
    columns = (3 if len(slices) > 4 else 2) if montage else 1 if alone else 2
    frame = image.frames[0]
    high = round(_MONTAGE * layout.page.panel_height_at_most) // -(-len(slices) // columns) if montage else None
    wide = round(_LOCATOR * layout.page.width_at_most)
    aside = locator(image, slices, wide, wording.pages.locator, layout) if located else None
    size = panel_size(
        frame.shape, frame.pixel_aspect, columns, layout, highest=high, aside=None if aside is None else wide
    )
    panels = [_panels(image, index, size, caption, overlaid, wording, alone=alone) for index in slices]
    if montage:
        return [compose(words, [panel for pair in panels for panel in pair], columns, None, layout, aside=aside)]
    return [compose(words, pair, columns, None, layout, aside=aside) for pair in panels]


def _panels(
    image: SourceImage,
    index: int,
    size: tuple[int, int],
    caption: str,
    overlaid: Overlaid,
    wording: Wording,
    *,
    alone: bool,
) -> list[Panel]:
    frame = image.frames[index]
    header = image.headers[frame.sop_instance_uid]
    background = frame_picture(image, index, size)
    orientation, bar = frame_orientation(frame, header), scale_bar(frame, size, wording.numbers)
    if image.kind == "planar":
        captions = (wording.original, caption)
    else:
        place = wording.slice.format(number=index + 1, total=len(image.frames))
        captions = (f"{wording.original} · {place}", place if alone else caption)
    original = [] if alone else [Panel(index, False, background, captions[0], orientation, bar)]
    return [
        *original,
        Panel(index, True, overlaid(background, index), captions[1], orientation, bar if alone else None),
    ]
