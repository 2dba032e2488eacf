"""What is said of slices of one series that differ: which part of it an image is, and what varies along a volume."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from whyray.imaging.acquisition import ACQUISITION, KVP, RECONSTRUCTION, SLICE_THICKNESS, TIMES, Attribute, values_of
from whyray.imaging.acquisition import thicknesses_of as thicknesses
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.stack import (
    SAME_PLANE_MM,
    STEP_OF_TILT,
    UNEVEN,
    Member,
    alike,
    gaps_of,
    number_range,
    signed_distances,
)

MOST_NAMED = 3
"""Attributes, and other values of one attribute, that a note names."""

VARYING = (*RECONSTRUCTION, KVP, *(attribute for attribute in ACQUISITION if attribute.in_blocks))
"""Attributes that are told wherever they vary along a volume."""


def split_note(part: Sequence[Member], parts: Sequence[Sequence[Member]]) -> tuple[Note, ...]:
    """A note on which part of a series' slices an image is, and what tells it apart; none where it is all of them."""
    if len(parts) == 1:
        return ()
    total = sum(map(len, parts))
    telling = list(_telling_apart(part, parts))
    more = f"; and {len(telling) - MOST_NAMED} more attributes" if len(telling) > MOST_NAMED else ""
    words = "; ".join(telling[:MOST_NAMED]) + more
    slices = "slice" if total == 1 else "slices"
    return (Note(NoteKind.SPLIT_SERIES, f"{len(part)} of {total} {slices} of the series: {words}"),)


def uneven_note(ordered: Sequence[Member]) -> tuple[Note, ...]:
    """A note on what varies along the slices of a volume, given in order; none where nothing does."""
    steps = np.diff(signed_distances(ordered))[~gaps_of(ordered)]
    varying = [
        f"{name} from {min(values):.4g} to {max(values):.4g} mm"
        for name, values in (("distances of slices", steps.tolist()), (SLICE_THICKNESS.name, thicknesses(ordered)))
        if values and max(values) - min(values) > max(UNEVEN * min(values), SAME_PLANE_MM)
    ]
    if not all(alike(member, ordered[0], STEP_OF_TILT) for member in ordered):
        varying.append("Image Orientation (Patient) changes along the slices")
    varying += _varying_attributes(ordered)
    return (Note(NoteKind.UNEVEN_SLICES, "; ".join(varying)),) if varying else ()


def _telling_apart(part: Sequence[Member], parts: Sequence[Sequence[Member]]) -> Iterator[str]:
    together = [member for one in parts for member in one]
    starts = [0, *itertools.accumulate(map(len, parts))]
    own = next(index for index, one in enumerate(parts) if one is part)
    named: set[str] = set()
    for attribute in (*RECONSTRUCTION, *ACQUISITION, *TIMES):
        values = values_of(together, attribute)
        mine = set(values[starts[own] : starts[own + 1]])
        others = list(dict.fromkeys((*values[: starts[own]], *values[starts[own + 1] :])))
        if len(mine) == 1 and not mine & set(others) and attribute.keyword not in named:
            named.add(attribute.keyword)
            yield _compared(attribute, mine.pop(), others)
    if not any(alike(member, part[0], STEP_OF_TILT) for one in parts if one is not part for member in one):
        yield "another Image Orientation (Patient) than the others"
    if not named:
        yield f"{number_range(part)}, by the order of the slices and their places"


def _compared(attribute: Attribute, value: str, others: Sequence[str]) -> str:
    if not attribute.quotable:
        return f"another {attribute.name} than the others"
    shown = ", ".join(other or "none" for other in others[:MOST_NAMED]) + (", …" if len(others) > MOST_NAMED else "")
    others_have = "another image of this series has" if len(others) == 1 else "other images of this series have"
    return f"{attribute.name} {value or 'none'}; {others_have} {shown}"


def _varying_attributes(ordered: Sequence[Member]) -> Iterator[str]:
    """What varies and is told wherever it does, and what changes back and forth without being an acquisition's own."""
    for attribute in (*VARYING, *(one for one in ACQUISITION if one not in VARYING and one != SLICE_THICKNESS)):
        values = values_of(ordered, attribute)
        distinct = list(dict.fromkeys(values))
        if len(distinct) == 1:
            continue
        runs = sum(1 for _ in itertools.groupby(values))
        back_and_forth = runs > len(distinct) and len(distinct) <= max(2, len(ordered) // 3)
        if attribute not in VARYING and not (back_and_forth and attribute.quotable):
            continue
        counts = ", ".join(
            f"{(value or 'none') if attribute.quotable else 'one value'} in {values.count(value)} slices"
            for value in distinct[:MOST_NAMED]
        )
        more = f" and {len(distinct) - MOST_NAMED} more values" if len(distinct) > MOST_NAMED else ""
        yield f"{attribute.name} {counts}{more}"
