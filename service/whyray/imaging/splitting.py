"""Slices of one series → the volumes that they are: what was acquired or reconstructed differently comes apart."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from whyray.imaging.acquisition import (
    ACQUISITION,
    ACQUISITION_TIME,
    NEVER_MERGED,
    RECONSTRUCTION,
    TIMES,
    TRIGGER_TIME,
    Attribute,
    by_value,
    number_in,
    values_of,
)
from whyray.imaging.attributes import decimal_numbers
from whyray.imaging.functional_groups import group_item
from whyray.imaging.stack import (
    FAN,
    PARALLEL,
    STEP_OF_TILT,
    Member,
    along_normal,
    evenness,
    of_one_orientation,
    of_one_tilt,
    places_of,
    stacks_up,
)

SPATIAL_POINTERS = {0x00209056, 0x00209057, 0x00200032, 0x00200037, 0x00201041, 0x00209113, 0x00209116}
"""Dimension Index Pointers that count places: stack, position in it, Image Position, Orientation, Slice Location."""

LESS_EVEN = 0.2
"""Parts whose distances are less even than the whole's by this share are no acquisitions of their own."""

FEW = 0.1
"""A share of slices that may lack an attribute which all others give alike."""

Part = list[Member]


def by_reconstruction(members: Sequence[Member]) -> list[Part]:
    """Slices that were reconstructed alike, in the order of their first."""
    columns = [_completed(values_of(members, attribute), attribute) for attribute in RECONSTRUCTION]
    return _parts(members, list(zip(*columns, strict=True)))


def _completed(values: list[str], attribute: Attribute) -> list[str]:
    """The values; where all but a few slices have the same one, those few that give none are taken to have it too."""
    given = {value for value in values if value}
    few = max(1, int(FEW * len(values)))
    if attribute.name in NEVER_MERGED or len(given) != 1 or values.count("") > few:
        return values
    return [*given] * len(values)


def volumes_of(members: Sequence[Member]) -> Iterator[tuple[Part, bool]]:
    """Slices of one reconstruction → parts, each with whether it is a volume; else its slices share places."""
    for similar in of_one_orientation(members, FAN):
        if stacks_up(similar):
            for block in of_one_tilt(similar):
                yield from ((part, True) for part in by_acquisition(block))
            continue
        for parallel in of_one_orientation(similar, PARALLEL):
            if stacks_up(parallel):
                yield from ((part, True) for part in by_acquisition(parallel))
                continue
            phases = _phases(parallel, ACQUISITION)
            if phases is None:
                yield parallel, False
            for phase in phases or []:
                yield from ((part, True) for part in by_acquisition(phase))


def by_acquisition(members: Sequence[Member]) -> list[Part]:
    """Slices in places of their own → one part an acquisition, where slices of several lie among each other.

    An attribute that changes slice by slice or block by block along the stack (each rotation of a step-and-shoot scan
    has an Acquisition Number of its own) is ordinary. Where slices of one value lie on both sides of another's, and
    the parts are by themselves about as even as the whole, two acquisitions were filed as one series.
    """
    ordered = along_normal(members)
    for values, in_blocks in _columns_that_split(ordered):
        runs = sum(1 for _ in itertools.groupby(values))
        parts = _parts(ordered, values)
        if len(parts) > 1 and (in_blocks or runs > len(parts)) and _are_acquisitions(ordered, parts):
            return [part for one in parts for part in by_acquisition(one)]
    return [ordered]


def _columns_that_split(ordered: Sequence[Member]) -> Iterator[tuple[Sequence[Hashable], bool]]:
    """Values of slices in order, and whether those of one value are an acquisition even where they lie in a block."""
    for attribute in (*RECONSTRUCTION, *ACQUISITION):
        where = attribute.interleaved_in
        if where is None or ordered[0].instance.modality in where:
            yield values_of(ordered, attribute), attribute.in_blocks
    clusters = of_one_orientation(ordered, STEP_OF_TILT)
    number = {id(member): index for index, cluster in enumerate(clusters) for member in cluster}
    yield [number[id(member)] for member in ordered], False


def by_phase(members: Sequence[Member]) -> list[Part] | None:
    """Slices that share places → parts that stack up, told apart by attributes, times or order; None if nothing does.

    There must be as many parts as slices in the fullest place: times that differ from slice to slice are no phases.
    """
    return _phases(members, (*ACQUISITION, *TIMES)) or _in_order(members)


def _are_acquisitions(members: Sequence[Member], parts: Sequence[Part]) -> bool:
    if len(parts) > max(2, len(members) // 3) or min(map(len, parts)) < (2 if len(members) < 8 else 3):
        return False
    return min(map(evenness, parts)) >= evenness(members) - LESS_EVEN


def _phases(members: Sequence[Member], attributes: Sequence[Attribute]) -> list[Part] | None:
    wanted = int(np.bincount(places_of(members)).max())
    columns: list[list[Any]] = [
        *([by_value(value) for value in values_of(members, attribute)] for attribute in attributes),
        *_dimension_columns(members),
        [member.instance.uid if member.instance.frame_count > 1 else "" for member in members],
    ]
    telling = [column for column in columns if len(set(column)) > 1]
    pairs = [list(zip(first, second, strict=True)) for first, second in itertools.combinations(telling, 2)]
    for column in [*telling, *pairs]:
        if len(set(column)) != wanted:
            continue
        parts = dict(zip(dict.fromkeys(column), _parts(members, column), strict=True))
        if all(map(stacks_up, parts.values())):
            return [parts[value] for value in sorted(parts)]
    return _overlapping(members, wanted)


def _overlapping(members: Sequence[Member], wanted: int) -> list[Part] | None:
    """More acquisitions than slices in any place, one after the other, that share places where they meet."""
    for attribute in ACQUISITION:
        parts = _parts(members, values_of(members, attribute))
        enough = wanted < len(parts) <= len(members) // 2 and min(map(len, parts)) > 1
        if enough and all(map(stacks_up, parts)):
            return parts
    return None


def _dimension_columns(members: Sequence[Member]) -> list[list[Any]]:
    """Dimension Index Values of multi-frame instances, those that count no place: PS3.3 section C.7.6.17.

    All of them together, then one by one. Values without a pointer are tried too: geometry decides.
    """
    rows = [_dimension_values(member) for member in members]
    width = max(map(len, rows))
    padded = [tuple(row + [0.0] * (width - len(row))) for row in rows]
    return [list(padded), *([row[index] for row in padded] for index in range(width))] if width else []


def _dimension_values(member: Member) -> list[float]:
    header = member.instance.header
    content = group_item(header, member.frame.frame_number, "FrameContentSequence")
    values = () if content is None else decimal_numbers(content, "DimensionIndexValues")
    pointers = [index.get("DimensionIndexPointer") for index in header.get("DimensionIndexSequence") or []]
    paired = itertools.zip_longest(values, pointers[: len(values)])
    return [value or 0.0 for value, pointer in paired if pointer not in SPATIAL_POINTERS]


def _in_order(members: Sequence[Member]) -> list[Part] | None:
    """Volumes as Trigger Time counts them within each place, or as numbers or times count their slices one by one."""
    trigger_times = _numbers(members, [_time(member, TRIGGER_TIME) for member in members])
    if trigger_times is not None:
        # A heart's phases follow each other within each place, whatever the beat was at another.
        parts = _ranked(members, trigger_times)
        if parts is not None and all(map(stacks_up, parts)):
            return parts
    for read in _orders(members):
        numbers = _numbers(members, read)
        if numbers is None:
            continue
        parts = _volume_by_volume(members, numbers) or _place_by_place(members, numbers)
        if parts is not None and all(map(stacks_up, parts)):
            return parts
    return None


def _orders(members: Sequence[Member]) -> Iterator[list[float | None]]:
    """Numbers and times by which the slices of volumes may have been counted; a number says nothing of one place."""
    if places_of(members).max() > 0:
        yield [member.instance_number for member in members]
        if len({member.instance.uid for member in members}) == 1:
            yield [member.frame.frame_number for member in members]
    yield [_time(member, ACQUISITION_TIME) for member in members]


def _numbers(members: Sequence[Member], read: Sequence[float | None]) -> list[float] | None:
    """The numbers, where each slice has one and all differ within each place."""
    numbers = [float(number) for number in read if number is not None]
    if len(numbers) < len(members):
        return None
    pairs = set(zip(places_of(members).tolist(), numbers, strict=True))
    return numbers if len(pairs) == len(numbers) else None


def _volume_by_volume(members: Sequence[Member], key: Sequence[float]) -> list[Part] | None:
    """A new volume wherever a place comes again: all places each time, but the last time may have ended early."""
    places = places_of(members)
    runs: list[list[int]] = []
    for index in np.argsort(key, kind="stable"):
        if not runs or any(places[index] == places[other] for other in runs[-1]):
            runs.append([])
        runs[-1].append(int(index))
    count = int(places.max()) + 1
    first, last = ([places[index] for index in run] for run in (runs[0], runs[-1]))
    complete = all(len(run) == count for run in runs[:-1])
    if not complete or (len(last) < count and last != first[: len(last)]):
        return None
    return [[members[index] for index in run] for run in runs]


def _place_by_place(members: Sequence[Member], key: Sequence[float]) -> list[Part] | None:
    """All volumes' slices of one place, then of the next."""
    places = places_of(members)
    runs = sum(1 for _ in itertools.groupby(places[np.argsort(key, kind="stable")].tolist()))
    return _ranked(members, key) if runs == int(places.max()) + 1 and len(set(key)) == len(key) else None


def _ranked(members: Sequence[Member], key: Sequence[float]) -> list[Part] | None:
    """The first slices of all places, then the second: where each place has as many."""
    places = places_of(members)
    counts = np.bincount(places)
    if counts.min() != counts.max():
        return None
    order = np.argsort(key, kind="stable")
    by_place = [[int(index) for index in order if places[index] == place] for place in range(len(counts))]
    return [[members[indices[number]] for indices in by_place] for number in range(int(counts[0]))]


def _time(member: Member, attribute: Attribute) -> float | None:
    """A time (TM or DT as it is written, or milliseconds) as a number that grows."""
    written = "".join(member.written.get(attribute.name, ())).replace(":", "")
    return number_in(written)


def _parts(members: Sequence[Member], column: Sequence[Hashable]) -> list[Part]:
    """Slices by their value in a column, in the order of the values' first places."""
    parts: dict[Hashable, Part] = defaultdict(list)
    for member, value in zip(members, column, strict=True):
        parts[value].append(member)
    return list(parts.values())
