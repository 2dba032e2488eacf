"""Answers told by anatomy: outlines of the structures over the image, a bar and a group of rows for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from whyray.base.frame_array import counts_of
from whyray.explain import RegionShare, RegionShares
from whyray.results.answer import StructureInSource
from whyray.results.coding import NO_UNITS, ucum
from whyray.results.numbers import NO_BREAK, Numbers
from whyray.results.page.chart import Bar, bar_chart
from whyray.results.page.overlay import Picture, plain, with_outline
from whyray.results.page.text import LEAST_TEXT
from whyray.results.page.typeface import typeface
from whyray.results.portray.portrayal import Figure, Look, Plain, Portrayal, Row, portrays
from whyray.results.wording import RegionWords

_NAMED = 0.1
"""Share from which on a structure is named in a sentence."""
_PERCENT = ucum("%", "Percent")


@portrays(RegionShares)
def region_shares(explanation: RegionShares, look: Look) -> Portrayal:
    """One page: numbered outlines over the image beside bars; each structure's rows refer to its segment."""
    words = look.wording.regions
    numbers = {region.structure.name: number for number, region in enumerate(explanation.regions, start=1)}

    @cache
    def outlined() -> tuple[list[Figure], tuple[int, int]]:
        """The outlines, and the size of a chart beside them."""
        width = (look.layout.page.width_at_most - 3 * look.layout.page.margin) // 2
        outlines = _outlines(explanation, look, width, numbers)
        return outlines, (width, outlines[0].picture.shape[0] if outlines else round(width * 0.8))

    def figures() -> list[Figure]:
        outlines, size = outlined()
        return [*outlines, Figure(_bars(explanation, look, size, numbers), _chart_caption(explanation, words))]

    return Portrayal(
        headline=_headline(explanation, look),
        rows=_whole(explanation, look) + tuple(row for region in explanation.regions for row in _rows(region, look)),
        columns=2,
        lines=tuple(_lines(explanation, look)),
        draw_figures=figures,
        draw_plain=lambda: _plain(explanation, look, *outlined()),
    )


def _plain(explanation: RegionShares, look: Look, outlined: Sequence[Figure], size: tuple[int, int]) -> Plain:
    """The outlines, and bars with the share of each structure; where the two largest parts come from."""
    words, types = look.wording.regions, look.wording.pages.types
    largest = [region for region in explanation.regions if region.share >= _NAMED][:2] or explanation.regions[:1]
    numbers = {region.structure.name: number for number, region in enumerate(explanation.regions, start=1)}
    percent = look.wording.numbers.whole_percent
    bars = [
        Bar(f"{numbers[region.structure.name]} {_name(region, words)}", region.share, note=percent(region.share))
        for region in explanation.regions
    ]
    bars.append(Bar(types.elsewhere, explanation.outside, note=percent(explanation.outside)))
    chart = Figure(bar_chart(bars, "", size, look.layout), types.regions_chart)
    named = [_name(region, words) for region in largest]
    if explanation.outside > largest[0].share:
        named.insert(0, types.elsewhere)
    sentences = [types.regions.format(names=look.wording.listed(named))]
    if explanation.flagged:
        sentences.append(words.flag + look.wording.full_stop)
    places = tuple(replace(outlines, caption=types.regions_places) for outlines in outlined)
    return Plain(tuple(sentences), (*places, chart), 2)


def _name(region: RegionShare, words: RegionWords) -> str:
    return words.names.get(region.structure.name, region.structure.name)


def _headline(explanation: RegionShares, look: Look) -> str:
    words, written = look.wording.regions, look.wording.numbers
    first = explanation.regions[0]
    if first.effect is not None:
        return words.headline_effect.format(
            name=_name(first, words), effect=written.fixed(first.effect, 2, signed=True)
        )
    return words.headline_share.format(
        name=_name(first, words),
        share=written.whole_percent(first.share),
        area=written.whole_percent(first.area),
        method=explanation.of or "-",
    )


def _lines(explanation: RegionShares, look: Look) -> list[str]:
    words, written = look.wording.regions, look.wording.numbers
    lines = [words.outside.format(share=written.whole_percent(explanation.outside))]
    allowed = [_name(region, words) for region in explanation.regions if region.structure.allowed]
    share = explanation.evidence.get("allowed_share")
    if allowed and share is not None:
        sentence = words.flagged if explanation.flagged else words.inside
        lines.append(sentence.format(share=written.whole_percent(share), names=look.wording.listed(allowed)))
    if explanation.base is not None and explanation.total is not None:
        lines.append(
            words.sum.format(base=written.fixed(explanation.base, 2), total=written.fixed(explanation.total, 2))
        )
    return lines


def _chart_caption(explanation: RegionShares, words: RegionWords) -> str:
    return words.chart_share if explanation.regions[0].effect is None else words.chart_effect


def _bars(explanation: RegionShares, look: Look, size: tuple[int, int], numbers: dict[str, int]) -> Picture:
    words, written, effects = look.wording.regions, look.wording.numbers, explanation.regions[0].effect is not None
    bars = [
        Bar(
            f"{numbers[region.structure.name]} {_name(region, words)}",
            region.effect if region.effect is not None else region.share,
            note=_note(region, written),
            faint=region.structure.allowed is False,
        )
        for region in explanation.regions
    ]
    rest = explanation.evidence.get("rest_effect", explanation.outside) if effects else explanation.outside
    bars.append(Bar(words.rest, rest, note=written.whole_percent(explanation.outside)))
    return bar_chart(bars, words.effect if effects else words.share, size, look.layout, written)


def _note(region: RegionShare, written: Numbers) -> str:
    share = written.whole_percent(region.share)
    return share if region.enrichment is None else f"{share} ({written.fixed(region.enrichment, 1)}{NO_BREAK}×)"


def _rows(region: RegionShare, look: Look) -> tuple[Row, ...]:
    name = region.structure.name
    rows = [
        Row(look.own("Share of the explanation"), 100 * region.share, _PERCENT, structure=name),
        Row(look.own("Share of the image"), 100 * region.area, _PERCENT, structure=name),
    ]
    if region.enrichment is not None:
        rows.append(Row(look.own("Enrichment, share over area"), region.enrichment, NO_UNITS, structure=name))
    if region.effect is not None:
        rows.append(Row(look.own("Effect on the logit"), region.effect, NO_UNITS, structure=name))
    if region.structure.allowed is not None:
        said = look.wording.yes_no.word_of(region.structure.allowed)
        rows.append(Row(look.own("Finding may be looked for here"), said, structure=name))
    return tuple(rows)


def _whole(explanation: RegionShares, look: Look) -> tuple[Row, ...]:
    rows = [Row(look.own("Share outside all structures"), 100 * explanation.outside, _PERCENT)]
    share = explanation.evidence.get("allowed_share")
    if share is not None:
        rows.append(Row(look.own("Share where the finding may be"), 100 * share, _PERCENT))
    if explanation.flagged:
        rows.append(Row(look.own("Attention"), look.wording.regions.flag))
    named = (("Logit with all structures covered", explanation.base), ("Logit", explanation.total))
    rows += [Row(look.own(name), value, NO_UNITS) for name, value in named if value is not None]
    if explanation.of is not None:
        rows.append(Row(look.own("Map that is told by structure"), explanation.of))
    return tuple(rows)


def _outlines(explanation: RegionShares, look: Look, width: int, numbers: dict[str, int]) -> list[Figure]:
    """The source frame with all structures; of a volume the one that shows most of the first structure."""
    structures = next((graded.structures for graded in look.finding.typed if graded.explanation is explanation), ())
    if not structures:
        return []
    image = look.answer.image
    largest = explanation.regions[0].structure.name
    leading = next((structure for structure in structures if structure.name == largest), structures[0])
    frame = int(counts_of(leading.mask).argmax())
    rows, columns = image.shape[1:]
    height = max(1, round(width * rows * image.frames[frame].pixel_aspect / columns))
    room = (
        (width, height) if height <= width * 1.3 else (max(1, round(width * width * 1.3 / height)), round(width * 1.3))
    )
    words = look.wording.regions
    faint = any(region.structure.allowed is False for region in explanation.regions)
    caption = f"{words.outlines}; {words.faint}" if faint else words.outlines
    return [Figure(_drawn(structures, explanation, look, frame, room, numbers), caption, frame=frame)]


def _drawn(
    structures: Sequence[StructureInSource],
    explanation: RegionShares,
    look: Look,
    frame: int,
    room: tuple[int, int],
    numbers: dict[str, int],
) -> Picture:
    layout = look.layout
    picture = plain(look.answer.image.display[frame], room)
    barred = {region.structure.name for region in explanation.regions if region.structure.allowed is False}
    places = []
    for structure in sorted(structures, key=lambda one: one.name not in barred):
        mask = structure.mask[frame]
        if mask.any():
            colour = layout.colours.faint if structure.name in barred else layout.contour.colour
            picture = with_outline(picture, mask, colour, layout.contour.width)
            at = np.argwhere(mask).mean(axis=0) / mask.shape
            places.append((str(numbers.get(structure.name, "")), at[1] * room[0], at[0] * room[1]))
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    font = typeface(layout.fonts, "0", max(LEAST_TEXT, room[0] // 24), bold=True)
    for number, x, y in places:
        draw.text(
            (x, y), number, font=font, fill=layout.colours.text, anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0)
        )
    return np.asarray(canvas)
