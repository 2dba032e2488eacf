"""What is said of slices of one series that differ: which part of it an image is, and what varies along a volume."""

from __future__ import annotations

import itertools
from collections import Counter
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


def split_notes(parts: Sequence[Sequence[Member]]) -> list[tuple[Note, ...]]:
    """For each part of a series' slices, a note on which part it is and what tells it apart; none where it is all."""
    if len(parts) == 1:
        return [()]
    total = sum(map(len, parts))
    notes: list[tuple[Note, ...]] = []
    for part, telling in zip(parts, _telling_apart(parts), strict=True):
        more = f"; and {len(telling) - MOST_NAMED} more attributes" if len(telling) > MOST_NAMED else ""
        words = f"{len(part)} of {total} slices of the series: {'; '.join(telling[:MOST_NAMED])}{more}"
        notes.append((Note(NoteKind.SPLIT_SERIES, words),))
    return notes


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


def _telling_apart(parts: Sequence[Sequence[Member]]) -> list[list[str]]:
    """For each part, the attributes that all its slices have alike, and those of no other part."""
    together = [member for part in parts for member in part]
    starts = [0, *itertools.accumulate(map(len, parts))]
    telling: list[list[str]] = [[] for _ in parts]
    named: set[tuple[int, str]] = set()
    for attribute in (*RECONSTRUCTION, *ACQUISITION, *TIMES):
        values = values_of(together, attribute)
        of_parts = [set(values[start:stop]) for start, stop in itertools.pairwise(starts)]
        distinct = list(dict.fromkeys(values))
        shared = Counter(value for of_part in of_parts for value in of_part)
        for index, own in enumerate(of_parts):
            value = next(iter(own))
            if len(own) == 1 and shared[value] == 1 and (index, attribute.keyword or attribute.name) not in named:
                # Image Type is in the list by its values, too: one of them is enough.
                named.add((index, attribute.keyword or attribute.name))
                telling[index].append(_compared(attribute, value, [other for other in distinct if other != value]))
    for part, words in zip(parts, telling, strict=True):
        others = [other for other in parts if other is not part]
        if not any(alike(other[0], part[0], STEP_OF_TILT) for other in others):
            words.append("another Image Orientation (Patient) than the others")
        if not words:
            words.append(f"{number_range(part)}, by the order of the slices and their places")
    return telling


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
