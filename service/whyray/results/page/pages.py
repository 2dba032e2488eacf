"""Pages about one finding: its maps over the image, its segment, or a plain notice where nothing may be shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from whyray.base.arrays import BoolArray
from whyray.explain import Narrative
from whyray.imaging import SourceFrame, SourceImage, frame_orientation
from whyray.quality import Grade, QualityCard
from whyray.results.answer import Answer, Finding, FramesExplained, GradedExplanation, MapInSource
from whyray.results.header import local_time
from whyray.results.image_notes import one_line
from whyray.results.measured import value_unit
from whyray.results.multi_frame import functional_value
from whyray.results.page.key_slices import key_slices
from whyray.results.page.layout import ColourBar, Page, Panel, Words, compose, panel_size
from whyray.results.page.overlay import Picture, dimmed_where_unseen, plain, with_heatmap, with_mask, with_strip
from whyray.results.portray import Figure, Portrayal
from whyray.results.reasons import reasons_in
from whyray.results.template_layout import Layout
from whyray.results.template_parts import Colour
from whyray.results.wording import Wording

_SHORT_DIGEST = 12
Overlaid = Callable[[Picture, int], Picture]
"""From the picture of a frame, and its index, to the same picture with something laid over it."""


def map_pages(answer: Answer, finding: Finding, heatmap: MapInSource, layout: Layout, wording: Wording) -> list[Page]:
    """The pages of one explanation: original beside overlay; for a volume, of its key slices.

    One page for a planar image or a montage; one a key slice (highest first) for `series` and `multiframe`.
    """
    top = float(np.abs(heatmap.values).max(initial=0.0))
    bar = ColourBar(
        top, heatmap.signed, heatmap.unit, (wording.negative, wording.positive) if heatmap.signed else ("", "")
    )
    words = _words_of_map(answer, finding, heatmap, layout, wording)
    caption = wording.overlay.format(method=heatmap.name)
    slices = [0] if answer.image.kind == "planar" else key_slices(heatmap.values, heatmap.region, layout)

    def overlaid(background: Picture, index: int) -> Picture:
        seen = dimmed_where_unseen(background, heatmap.covered[index])
        return with_heatmap(seen, heatmap.values[index], heatmap.region[index], top, layout, signed=heatmap.signed)

    return _pages(answer.image, slices, words, caption, overlaid, bar, layout, wording)


def mask_pages(answer: Answer, finding: Finding, mask: BoolArray, layout: Layout, wording: Wording) -> list[Page]:
    """The pages of a segment: original beside its outline; for a volume, of the slices that hold most of it."""
    words = Words(
        title=title_of(answer, finding),
        subtitle=subtitle_of(answer, finding, wording),
        badge=None,
        banner=None,
        legend=legend_of_answer(answer, layout, wording),
    )
    slices = [0] if answer.image.kind == "planar" else key_slices(mask.astype(np.float32), mask, layout)

    def overlaid(background: Picture, index: int) -> Picture:
        return with_mask(background, mask[index], layout)

    caption = wording.segment.format(name=finding.target.name)
    return _pages(answer.image, slices, words, caption, overlaid, None, layout, wording)


def notice_page(
    answer: Answer,
    finding: Finding,
    withheld: Sequence[MapInSource | GradedExplanation],
    layout: Layout,
    wording: Wording,
) -> Page:
    """A page without any picture: the finding, and why its explanations are not shown."""
    colours = layout.colours
    lines: list[tuple[str, Colour]] = []
    for graded in withheld:
        lines.append((wording.withheld_because.format(method=graded.method), colours.text))
        lines += [(f"• {reason}", colours.red) for reason in reasons_in(graded.card, wording)]
    for method, reason in finding.refused.items():
        lines.append((wording.refused_because.format(method=method, reason=reason), colours.text))
    headline = wording.withheld if withheld else wording.refused
    words = Words(
        title=title_of(answer, finding),
        subtitle=subtitle_of(answer, finding, wording),
        badge=(_badge(withheld[0].method, Grade.RED, wording), colours.red) if len(withheld) == 1 else None,
        banner=(headline, colours.red),
        legend=[*lines, ("", colours.text), *legend_of_answer(answer, layout, wording)],
    )
    return compose(words, [], 1, None, layout)


def no_statement_page(answer: Answer, layout: Layout, wording: Wording) -> Page:
    """A page without any picture, finding or number: that nothing is said of this image, and why."""
    colours = layout.colours
    lines = no_statement_words(answer, wording)
    words = Words(
        title=answer.package.title,
        subtitle="",
        badge=None,
        banner=(lines[0], colours.red),
        legend=[
            *((line, colours.text) for line in lines[1:]),
            ("", colours.text),
            *legend_of_answer(answer, layout, wording),
        ],
    )
    return compose(words, [], 1, None, layout)


def no_statement_words(answer: Answer, wording: Wording) -> list[str]:
    """That nothing is said of the image, then why, a sentence each; empty of an image that is answered about."""
    if answer.scope is None or not answer.scope.refused:
        return []
    return [wording.scope.none, *(wording.scope.sentence(reason) for reason in answer.scope.reasons)]


def told_pages(
    answer: Answer, finding: Finding, told: GradedExplanation, portrayal: Portrayal, layout: Layout, wording: Wording
) -> list[Page]:
    """The page of an explanation that is not a heatmap: its figures; none where it has none."""
    if not portrayal.figures:
        return []
    words = _words_of_told(answer, finding, told, portrayal, layout, wording)
    return [compose(words, _figure_panels(portrayal.figures, layout, wording), portrayal.columns, None, layout)]


def cine_pages(
    answer: Answer, finding: Finding, told: GradedExplanation, portrayal: Portrayal, layout: Layout, wording: Wording
) -> list[Page]:
    """One page a frame of the explanation's cine, all of one size."""
    words = _words_of_told(answer, finding, told, portrayal, layout, wording)
    panels = _figure_panels(portrayal.cine, layout, wording)
    pages = [
        compose(
            replace(words, subtitle=wording.cine.format(number=number, total=len(panels)) + "  ·  " + words.subtitle),
            [panel],
            1,
            None,
            layout,
        )
        for number, panel in enumerate(panels, start=1)
    ]
    tallest = max((page.picture.shape[0] for page in pages), default=0)
    return [_taller(page, tallest, layout) for page in pages]


def _taller(page: Page, height: int, layout: Layout) -> Page:
    missing = height - page.picture.shape[0]
    if not missing:
        return page
    filler = np.full((missing, page.picture.shape[1], 3), layout.colours.background, np.uint8)
    return Page(np.concatenate([page.picture, filler]), page.panels)


def _figure_panels(figures: Sequence[Figure], layout: Layout, wording: Wording) -> list[Panel]:
    """Figures on canvases of one size, so that they stand in rows."""
    height = max(figure.picture.shape[0] for figure in figures)
    width = max(figure.picture.shape[1] for figure in figures)
    panels = []
    for figure in figures:
        canvas = np.full((height, width, 3), layout.colours.background, np.uint8)
        canvas[: figure.picture.shape[0], : figure.picture.shape[1]] = figure.picture
        marked = with_strip(canvas, wording.synthetic, layout) if figure.synthetic else canvas
        panels.append(Panel(figure.frame, False, marked, figure.caption))
    return panels


def _words_of_told(
    answer: Answer, finding: Finding, told: GradedExplanation, portrayal: Portrayal, layout: Layout, wording: Wording
) -> Words:
    colours, card = layout.colours, told.card
    colour = getattr(colours, card.grade.value)
    amber = card.grade is Grade.AMBER
    return Words(
        title=title_of(answer, finding),
        subtitle=subtitle_of(answer, finding, wording),
        badge=(_badge(told.method, card.grade, wording), colour),
        banner=(f"{wording.low_reliability}: {'; '.join(reasons_in(card, wording))}", colours.amber) if amber else None,
        legend=[
            (f"{wording.method.format(method=told.method)}  ·  {portrayal.headline}", colours.text),
            *((line, colours.text) for line in portrayal.lines),
            (
                f"{wording.quality}: {quality_words(card, wording)}",
                colour if card.grade is not Grade.GREEN else colours.text,
            ),
            *legend_of_answer(answer, layout, wording),
        ],
    )


def overview_page(answer: Answer, layout: Layout, wording: Wording) -> Page:
    """A page without any picture: all findings, one line each, present ones first; or that nothing is said."""
    if answer.scope is not None and answer.scope.refused:
        return no_statement_page(answer, layout, wording)
    ordered = sorted(answer.findings, key=lambda finding: not finding.present)
    lines: list[tuple[str, Colour]] = [
        (
            f"{title_of(answer, finding)}  ·  {subtitle_of(answer, finding, wording)}",
            layout.colours.text if finding.present else layout.colours.faint,
        )
        for finding in ordered
    ]
    words = Words(
        title=answer.package.title,
        subtitle="",
        badge=None,
        banner=None,
        legend=[*lines, ("", layout.colours.text), *legend_of_answer(answer, layout, wording)],
    )
    return compose(words, [], 1, None, layout)


def _pages(
    image: SourceImage,
    slices: Sequence[int],
    words: Words,
    caption: str,
    overlaid: Overlaid,
    bar: ColourBar | None,
    layout: Layout,
    wording: Wording,
) -> list[Page]:
    montage = image.kind == "volume" and layout.volume.pages == "montage" and len(slices) > 1
    columns = 4 if montage else 2
    frame = image.frames[0]
    size = panel_size(frame.shape, frame.pixel_aspect, columns, layout)
    pairs = [_pair(image, index, size, caption, overlaid, wording) for index in slices]
    if montage:
        return [compose(words, [panel for pair in pairs for panel in pair], columns, bar, layout)]
    return [compose(words, pair, columns, bar, layout) for pair in pairs]


def _pair(
    image: SourceImage, index: int, size: tuple[int, int], caption: str, overlaid: Overlaid, wording: Wording
) -> list[Panel]:
    frame = image.frames[index]
    header = image.headers[frame.sop_instance_uid]
    background = plain(image.display[index], size)
    place = "" if image.kind == "planar" else " · " + wording.slice.format(number=index + 1, total=len(image.frames))
    orientation = frame_orientation(frame, header)
    return [
        Panel(index, False, background, wording.original + place, orientation, scale_bar(frame, size)),
        Panel(index, True, overlaid(background, index), caption, orientation),
    ]


def scale_bar(frame: SourceFrame, size: tuple[int, int]) -> tuple[int, str] | None:
    """A bar of 1, 2 or 5 times a power of ten mm, at most a third of the panel's width."""
    if frame.spacing is None or frame.spacing[1] <= 0:
        return None
    millimetres_per_pixel = frame.spacing[1] * frame.shape[1] / size[0]
    room = millimetres_per_pixel * size[0] / 3
    power = 10.0 ** math.floor(math.log10(room))
    length = max(step * power for step in (1, 2, 5) if step * power <= room)
    text = f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm"
    return round(length / millimetres_per_pixel), text


def _is_at_detector(image: SourceImage) -> bool:
    """Whether the source's spacing is that of the detector, which the patient's organs are nearer than."""
    frame = image.frames[0]
    header = image.headers[frame.sop_instance_uid]
    written = functional_value(header, frame.frame_number, "PixelMeasuresSequence", "PixelSpacing")
    return frame.spacing is not None and not written


def title_of(answer: Answer, finding: Finding) -> str:
    """The finding with its number."""
    if finding.probability is not None:
        return f"{finding.target.name}   {finding.probability:.2f}"
    if finding.value is not None:
        return f"{finding.target.name}   {finding.value:.4g} {_unit(answer, finding)}".rstrip()
    return finding.target.name


def _unit(answer: Answer, finding: Finding) -> str:
    unit = value_unit(answer, finding).value
    return "" if unit == "1" else unit.replace("mm2", "mm²")


def subtitle_of(answer: Answer, finding: Finding, wording: Wording) -> str:
    """Probability, threshold, value and verdict, in words."""
    image, parts = answer.image, []
    if image.multi_frame_instance is not None and len(image.frames) == 1:
        total = int(image.header.NumberOfFrames)
        parts.append(wording.source_frame.format(number=image.frames[0].frame_number, total=total))
    if finding.probability is not None:
        parts.append(wording.probability.format(value=f"{finding.probability:.3f}"))
        parts.append(wording.threshold.format(value=f"{finding.target.threshold:.3g}"))
    if finding.value is not None:
        parts.append(wording.value.format(value=f"{finding.value:.4g} {_unit(answer, finding)}".rstrip()))
    if finding.mask is not None:
        parts.append(wording.segment_found if finding.present else wording.segment_empty)
    else:
        parts.append(wording.present if finding.present else wording.absent)
    return "  ·  ".join(parts)


def _words_of_map(answer: Answer, finding: Finding, heatmap: MapInSource, layout: Layout, wording: Wording) -> Words:
    colours, card = layout.colours, heatmap.card
    scope = wording.scale_planar if answer.image.kind == "planar" else wording.scale_volume
    method = [wording.method.format(method=heatmap.name)]
    if heatmap.layer:
        method.append(wording.layer.format(layer=heatmap.layer))
    method += [wording.unit.format(unit=heatmap.unit), scope]
    colour = getattr(colours, card.grade.value)
    legend: list[tuple[str, Colour]] = [
        ("  ·  ".join(method), colours.text),
        (wording.region.format(rule=wording.region_rules.get(heatmap.region_rule, heatmap.region_rule)), colours.text),
        *([] if heatmap.covered.all() else [(wording.unseen, colours.text)]),
        (
            f"{wording.quality}: {quality_words(card, wording)}",
            colour if card.grade is not Grade.GREEN else colours.text,
        ),
        *((line, colours.text) for line in _narratives(finding)),
        *legend_of_answer(answer, layout, wording),
    ]
    amber = card.grade is Grade.AMBER
    return Words(
        title=title_of(answer, finding),
        subtitle=subtitle_of(answer, finding, wording),
        badge=(_badge(heatmap.name, card.grade, wording), colour),
        banner=(f"{wording.low_reliability}: {'; '.join(reasons_in(card, wording))}", colours.amber) if amber else None,
        legend=legend,
    )


def _narratives(finding: Finding) -> list[str]:
    """What is told in words about the finding, where that may be shown: words stand beside a map, never alone."""
    return [
        told.explanation.text
        for told in finding.told
        if isinstance(told.explanation, Narrative) and not told.card.withheld
    ]


def _badge(method: str, grade: Grade, wording: Wording) -> str:
    """Which explanation is judged, and how: the finding is not."""
    return wording.badge.format(method=method, grade=getattr(wording.grades, grade.value))


def quality_words(card: QualityCard, wording: Wording) -> str:
    """Grade and reasons."""
    grade = getattr(wording.grades, card.grade.value)
    return f"{grade}  ·  {'; '.join(reasons_in(card, wording)) or wording.no_concerns}"


def legend_of_answer(answer: Answer, layout: Layout, wording: Wording) -> list[tuple[str, Colour]]:
    """What every page says at its foot: how the image was read, package, time, and what it is not for."""
    package, colours = answer.package, layout.colours
    noted = one_line(answer.image.notes, wording.notes)
    at_detector = [(wording.detector_plane, colours.faint)] if _is_at_detector(answer.image) else []
    made = wording.made.format(time=local_time(answer).strftime("%Y-%m-%d %H:%M:%S %z").strip())
    if answer.revision > 1:
        made += "  ·  " + wording.revision.format(number=answer.revision)
    left_out = [] if answer.frames_explained is None else [frames_explained_words(answer.frames_explained, wording)]
    return [
        *([(noted, colours.amber)] if noted else []),
        *at_detector,
        *((words, colours.amber) for words in left_out),
        (
            wording.package.format(
                title=package.title, name=package.name, version=package.version, digest=package.digest[:_SHORT_DIGEST]
            ),
            colours.faint,
        ),
        (made, colours.amber if answer.revision > 1 else colours.faint),
        (wording.not_for_diagnosis, colours.red),
    ]


def frames_explained_words(explained: FramesExplained, wording: Wording) -> str:
    """Which frames of a multi-frame instance are explained, and that the others are not."""
    return wording.frames_explained.format(
        count=len(explained.numbers), total=explained.answered, numbers=explained.ranges
    )
