"""Pages that show several maps side by side: the methods of one finding, or the findings of one method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whyray.imaging import frame_orientation
from whyray.quality import Grade
from whyray.results.answer import Answer, Finding, MapInSource
from whyray.results.page.key_slices import key_slices
from whyray.results.page.layout import ColourBar, Line, Page, Panel, Words, compose, panel_size
from whyray.results.page.overlay import dimmed_where_unseen, plain, with_heatmap
from whyray.results.page.said import foot_of, package_title, scale_bar, title_of
from whyray.results.template_layout import Layout
from whyray.results.trust import method_title_in, trust_in
from whyray.results.wording import Wording

_MOST_COLUMNS = 4
_MOST_MAPS = 11
"""Of one page: three rows of panels."""


@dataclass(frozen=True)
class Comparison:
    """One page and what it compares. `finding` is the one that all maps are about, or the first of several."""

    kind: str
    finding: Finding
    maps: tuple[MapInSource, ...]
    method: str | None
    page: Page


def comparisons(
    answer: Answer, shown: Sequence[tuple[Finding, MapInSource]], layout: Layout, wording: Wording
) -> list[Comparison]:
    """The pages that the layout wants, of whatever has two maps or more that may be shown.

    Of a volume, each page shows the slice that its first map lights up most. Each map has its own scale: the units
    of methods differ, and a common maximum would make one of them invisible.
    """
    made = []
    if "methods" in layout.compare:
        for finding in answer.findings:
            pairs = [(one, heatmap) for one, heatmap in shown if one is finding][:_MOST_MAPS]
            withheld = [_method(heatmap, wording) for heatmap in finding.maps if heatmap.card.withheld]
            if len(pairs) > 1:
                words = (title_of(answer, finding, wording), wording.compare.methods)
                titles = [_method(heatmap, wording) for _, heatmap in pairs]
                page = _page(answer, pairs, titles, words, withheld, layout, wording)
                made.append(Comparison("methods", finding, tuple(heatmap for _, heatmap in pairs), None, page))
    if "targets" in layout.compare:
        for name in dict.fromkeys(heatmap.name for _, heatmap in shown):
            pairs = [(one, heatmap) for one, heatmap in shown if heatmap.name == name][:_MOST_MAPS]
            if len(pairs) > 1:
                words = (
                    package_title(answer, wording),
                    wording.compare.targets.format(method=_method(pairs[0][1], wording)),
                )
                captions = [title_of(answer, finding, wording) for finding, _ in pairs]
                page = _page(answer, pairs, captions, words, (), layout, wording)
                maps = tuple(heatmap for _, heatmap in pairs)
                made.append(Comparison("targets", pairs[0][0], maps, pairs[0][1].method, page))
    return made


def _page(
    answer: Answer,
    pairs: Sequence[tuple[Finding, MapInSource]],
    captions: Sequence[str],
    title: tuple[str, str],
    withheld: Sequence[str],
    layout: Layout,
    wording: Wording,
) -> Page:
    image = answer.image
    first = pairs[0][1]
    index = 0 if image.kind == "planar" else key_slices(first.frame_strengths, layout)[0]
    frame = image.frames[index]
    header = image.headers[frame.sop_instance_uid]
    columns = min(_MOST_COLUMNS, len(pairs) + 1)
    size = panel_size(frame.shape, frame.pixel_aspect, columns, layout)
    background, orientation = plain(image.display[index], size), frame_orientation(frame, header)
    place = "" if image.kind == "planar" else " · " + wording.slice.format(number=index + 1, total=len(image.frames))
    panels = [
        Panel(index, False, background, wording.original + place, orientation, scale_bar(frame, size, wording.numbers)),
    ]
    for (_, heatmap), caption in zip(pairs, captions, strict=True):
        top = heatmap.largest
        seen = dimmed_where_unseen(background, heatmap.covered[index])
        picture = with_heatmap(seen, heatmap.values[index], heatmap.region[index], top, layout, signed=heatmap.signed)
        warned = f"{caption} · {trust_in(heatmap.card, wording).name}" if heatmap.card.grade is Grade.AMBER else caption
        panels.append(Panel(index, True, picture, warned, orientation))
    words = Words(
        title=title[0],
        subtitle=title[1],
        badge=None,
        banner=None,
        legend=_legend(answer, pairs, captions, withheld, layout, wording),
    )
    return compose(words, panels, columns, _bar(pairs, wording), layout)


def _bar(pairs: Sequence[tuple[Finding, MapInSource]], wording: Wording) -> ColourBar | None:
    """One scale for all; none where signed maps stand beside unsigned ones, whose colours differ."""
    signed = {heatmap.signed for _, heatmap in pairs}
    if len(signed) > 1:
        return None
    ends = (wording.negative, wording.positive) if True in signed else ("", "")
    return ColourBar(1.0, True in signed, wording.compare.unit, ends, wording.numbers)


def _legend(
    answer: Answer,
    pairs: Sequence[tuple[Finding, MapInSource]],
    captions: Sequence[str],
    withheld: Sequence[str],
    layout: Layout,
    wording: Wording,
) -> list[Line]:
    colours = layout.colours
    lines = [Line(wording.compare.scale, colours.text)]
    for (_, heatmap), caption in zip(pairs, captions, strict=True):
        top = heatmap.largest
        trust = trust_in(heatmap.card, wording)
        said = f"{wording.numbers.significant(top, 3)} {heatmap.unit}  ·  {trust.sentence or trust.badge}"
        lines.append(Line(wording.with_statement(caption, said), colours.text))
    lines += [Line(wording.compare.left_out.format(name=name), colours.red) for name in withheld]
    return [*lines, *foot_of(answer, layout, wording, scaled=True)]


def _method(heatmap: MapInSource, wording: Wording) -> str:
    title = method_title_in(heatmap.method, wording)
    return title if heatmap.part is None else wording.with_statement(title, heatmap.part)
