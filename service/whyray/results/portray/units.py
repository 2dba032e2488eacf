"""The units that carried an answer: bars of what each gave, where it fires here, and what else excites it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.explain import UnitEffect, UnitReport
from whyray.results.coding import NO_UNITS, ucum
from whyray.results.page.chart import Bar, bar_chart
from whyray.results.page.overlay import Picture
from whyray.results.portray.over_image import TOP_SHARE, over_image, strongest_slice
from whyray.results.portray.portrayal import Figure, Look, Portrayal, Row, grey, portrays
from whyray.results.wording import UnitWords

_DRAWN = 3
"""Units that get pictures; all get a bar and a row."""
_COLUMNS = 3


@portrays(UnitReport)
def unit_report(explanation: UnitReport, look: Look) -> Portrayal:
    """Bars of all units; for the strongest, its place in this image and its patches from references."""
    words, numbers = look.wording.units, look.wording.numbers
    side = (look.layout.page.width_at_most - (_COLUMNS + 1) * look.layout.page.margin) // _COLUMNS
    drawn = explanation.units[:_DRAWN]
    bars = [
        Bar(_name(unit, words), unit.contribution, note=numbers.fixed(unit.ablation, 2, signed=True))
        for unit in explanation.units
    ]

    def figures() -> list[Figure]:
        return _figures(explanation, bars, drawn, side, look)

    headline = words.headline.format(
        shown=len(explanation.units), total=explanation.unit_count, layer=explanation.units[0].layer
    )
    return Portrayal(
        headline=headline,
        rows=tuple(_row_of(unit, look) for unit in explanation.units) + _sums(explanation, look),
        columns=_COLUMNS,
        lines=tuple(look.wording.with_statement(_name(unit, words), _detail(unit, look)) for unit in drawn),
        draw_figures=figures,
    )


def _figures(
    explanation: UnitReport, bars: Sequence[Bar], drawn: Sequence[UnitEffect], side: int, look: Look
) -> list[Figure]:
    words = look.wording.units
    figures = [
        Figure(bar_chart(bars, words.contribution, (side, side), look.layout, look.wording.numbers), words.chart)
    ]
    for unit in drawn:
        if unit.activation_map is not None and explanation.display is not None:
            place = _place(unit.activation_map, explanation.display, side, look)
            figures.append(Figure(place, look.wording.with_statement(_name(unit, words), words.here)))
        if unit.patches is not None:
            caption = words.patches.format(unit=unit.unit)
            figures.append(Figure(_tiles(unit.patches, side), caption, unit.synthetic))
    return figures


def _name(unit: UnitEffect, words: UnitWords) -> str:
    return words.unit.format(unit=unit.unit)


def _detail(unit: UnitEffect, look: Look) -> str:
    words, numbers = look.wording.units, look.wording.numbers
    parts = [words.ablation.format(value=numbers.fixed(unit.ablation, 2, signed=True))]
    if unit.percentile is not None:
        parts.append(words.percentile.format(value=numbers.whole(unit.percentile)))
    if unit.concept is None:
        parts.append(words.unknown)
    else:
        parts.append(
            words.detects.format(concept=look.wording.named(unit.concept), iou=numbers.fixed(unit.iou or 0.0, 2))
        )
    return "; ".join(parts)


def _row_of(effect: UnitEffect, look: Look) -> Row:
    parts = [
        Row(look.own("Activation of the unit"), effect.activation, NO_UNITS),
        Row(look.own("Change of the logit without the unit"), effect.ablation, NO_UNITS),
    ]
    if effect.percentile is not None:
        unit = ucum("%", "Percent")
        parts.append(Row(look.own("Percentile among references"), effect.percentile, unit))
    if effect.concept is not None:
        parts.append(Row(look.own("Concept that the unit detects"), effect.concept))
        parts.append(Row(look.own("Overlap with the concept"), float(effect.iou or 0), NO_UNITS))
    return Row(look.own(f"Unit {effect.unit} of {effect.layer}"), effect.contribution, NO_UNITS, of=tuple(parts))


def _sums(explanation: UnitReport, look: Look) -> tuple[Row, ...]:
    named = (("Logit of a silent layer", explanation.base), ("Logit", explanation.total))
    return tuple(Row(look.own(name), value, NO_UNITS) for name, value in named if value is not None)


def _place(values: FloatArray, display: FloatArray, side: int, look: Look) -> Picture:
    """Where the unit fires, over the image as the model saw it; of a volume the slice where it fires most."""
    values, display = strongest_slice(values, display)
    signed = bool(values.min() < -TOP_SHARE * values.max())
    return over_image(values if signed else np.clip(values, 0, None), display, side, look, signed=signed)


def _tiles(patches: FloatArray, side: int) -> Picture:
    """Patches in two columns."""
    tile_side = side // 2
    tiles = [grey(patch, (tile_side - 4, tile_side - 4)) for patch in patches[:4]]
    canvas = np.zeros((side, side, 3), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, 2)
        canvas[
            row * tile_side : row * tile_side + tile_side - 4, column * tile_side : column * tile_side + tile_side - 4
        ] = tile
    return canvas
