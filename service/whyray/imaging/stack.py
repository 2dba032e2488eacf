"""Slices on their way into a volume, and how they lie to each other: PS3.3 section C.7.6.2."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whyray.imaging.attributes import decimal_numbers
from whyray.imaging.instance import Instance
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.source import Affine, SourceFrame

SAME_PLANE_MM = 0.01
"""Two slices closer than this lie in the same place."""

PARALLEL = float(np.cos(np.radians(0.5)))
FAN = float(np.cos(np.radians(40.0)))
"""Normals nearer than these angles are one orientation, or one orientation with a gantry tilt that changes."""

STEP_OF_TILT = float(np.cos(np.radians(1.0)))
"""Neighbouring runs of slices that are turned by more than this against each other are acquisitions of their own."""

GAP = 1.5
"""An interval longer than this many times both its neighbours is called a gap."""

UNEVEN = 0.02
"""Distances are uneven where they differ by more than this share of the smallest."""


@dataclass(frozen=True)
class Member:
    """One frame on its way into an image.

    `written` holds the values, as text, of the attributes that tell slices apart, by their names; only those that are
    given. `notes` say what was noted while its place was read.
    """

    instance: Instance
    frame: SourceFrame
    written: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    @property
    def instance_number(self) -> int | None:
        """Instance Number (0020,0013); None where it is absent or no whole number."""
        values = decimal_numbers(self.instance.header, "InstanceNumber")
        return int(values[0]) if len(values) == 1 and values[0] is not None else None


def signed_distances(members: Sequence[Member]) -> NDArray[np.float64]:
    """Position of each slice along the mean normal, in mm (PS3.3 section C.7.6.2.1.1: origin projected on normal)."""
    affines = np.array([_affine(member) for member in members])
    mean = affines[:, :3, 2].mean(axis=0)
    rows, columns = np.array([member.frame.shape for member in members], dtype=np.float64).T
    centres = affines[:, :3, 3] + (affines[:, :3, 0].T * (columns - 1) / 2 + affines[:, :3, 1].T * (rows - 1) / 2).T
    return centres @ (mean / np.linalg.norm(mean))  # type: ignore[no-any-return]


def along_normal(members: Sequence[Member]) -> list[Member]:
    """The slices in the order of their places."""
    return [members[index] for index in np.argsort(signed_distances(members), kind="stable")]


def places_of(members: Sequence[Member]) -> NDArray[np.intp]:
    """The number of each slice's place along the normal, (N,) from 0; slices in the same place share one.

    Two are in the same place where less than `SAME_PLANE_MM` lies between them and the slice before.
    """
    distances = signed_distances(members)
    order = np.argsort(distances, kind="stable")
    places = np.zeros(len(members), dtype=np.intp)
    places[order] = np.concatenate([[0], np.cumsum(np.diff(distances[order]) >= SAME_PLANE_MM)])
    return places


def stacks_up(members: Sequence[Member]) -> bool:
    """Whether the slices, sorted, lie one behind the other everywhere in the field of view."""
    return not any(_meet(below, above) for below, above in itertools.pairwise(along_normal(members)))


def is_filled(members: Sequence[Member]) -> bool:
    """Whether each place holds as many slices."""
    counts = np.bincount(places_of(members))
    return bool(counts.min() == counts.max())


def sharing_places(members: Sequence[Member]) -> list[list[Member]]:
    """Slices that share a place with another, by place; where none do, neighbours that meet at an angle."""
    places = places_of(members)
    by_place = [
        [member for member, number in zip(members, places, strict=True) if number == place]
        for place in range(int(places.max()) + 1)
    ]
    sharing = [together for together in by_place if len(together) > 1]
    return sharing or [[one, other] for one, other in itertools.pairwise(along_normal(members)) if _meet(one, other)]


def of_one_orientation(members: Sequence[Member], cosine: float) -> list[list[Member]]:
    """Members whose normals, and row directions, agree with the first of a cluster."""
    clusters: list[list[Member]] = []
    for member in members:
        for cluster in clusters:
            if alike(member, cluster[0], cosine):
                cluster.append(member)
                break
        else:
            clusters.append([member])
    return clusters


def of_one_tilt(members: Sequence[Member]) -> list[list[Member]]:
    """Blocks of slices that each keep their orientation and meet with a step; one where it changes slice by slice.

    A gantry that is tilted further from slice to slice makes one volume; two blocks, each of its own tilt, are two
    acquisitions.
    """
    blocks: list[list[Member]] = []
    for member in along_normal(members):
        if blocks and alike(member, blocks[-1][-1], STEP_OF_TILT):
            blocks[-1].append(member)
        else:
            blocks.append([member])
    steps = all(len(block) > 1 and alike(block[0], block[-1], STEP_OF_TILT) for block in blocks)
    return blocks if steps else [list(members)]


def alike(one: Member, other: Member, cosine: float) -> bool:
    """Whether the normals, and the row directions, of two slices lie within an angle of each other."""
    return bool(_normal(one) @ _normal(other) > cosine and _row(one) @ _row(other) > cosine)


def evenness(members: Sequence[Member]) -> float:
    """The share of slice distances that equal the commonest one."""
    steps = np.diff(np.sort(signed_distances(members)))
    if not steps.size:
        return 1.0
    usual = float(np.median(steps))
    return float(np.mean(np.abs(steps - usual) <= max(UNEVEN * usual, SAME_PLANE_MM)))


def gaps_of(members: Sequence[Member]) -> NDArray[np.bool_]:
    """Which intervals between neighbours, of slices in order, are gaps."""
    steps = np.diff(signed_distances(members))
    gaps = np.zeros(len(steps), dtype=np.bool_)
    for index, step in enumerate(steps):
        beside = [steps[other] for other in (index - 1, index + 1) if 0 <= other < len(steps)]
        gaps[index] = bool(beside) and step > GAP * max(beside)
    return gaps


def gap_notes(members: Sequence[Member]) -> tuple[Note, ...]:
    """A note for each gap between slices in order."""
    steps = np.diff(signed_distances(members))
    notes = []
    for index in np.flatnonzero(gaps_of(members)).tolist():
        beside = max(steps[other] for other in (index - 1, index + 1) if 0 <= other < len(steps))
        uid = members[index].frame.sop_instance_uid
        words = f"gap of {steps[index]:.2f} mm after instance {uid}, {steps[index] / beside:.1f} times its neighbours"
        notes.append(Note(NoteKind.GAP, words))
    return tuple(notes)


def named(members: Sequence[Member], most: int = 8) -> str:
    """Slices by Instance Number and SOP Instance UID, shortened where there are many."""
    names = list(dict.fromkeys(map(slice_name, members)))
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def number_range(members: Sequence[Member]) -> str:
    """The first and last Instance Number of slices, or frame number where all are of one instance."""
    of_one_instance = len({member.instance.uid for member in members}) == 1 and len(members) > 1
    name = "frames" if of_one_instance else "Instance Number"
    numbers = [member.frame.frame_number if of_one_instance else member.instance_number for member in members]
    known = [number for number in numbers if number is not None]
    return f"{name} {min(known)} to {max(known)}" if known else f"{len(members)} slices without Instance Number"


def slice_name(member: Member) -> str:
    """Instance Number, SOP Instance UID, and the frame where there are several."""
    number, uid = member.instance_number, member.instance.uid
    name = uid if number is None else f"{number} ({uid})"
    return f"{name} frame {member.frame.frame_number}" if member.instance.frame_count > 1 else name


def _meet(below: Member, above: Member) -> bool:
    normal, origin = _normal(below), _affine(below)[:3, 3]
    return bool(np.min((_corners(above) - origin) @ normal) < SAME_PLANE_MM)


def _normal(member: Member) -> NDArray[np.float64]:
    return _affine(member)[:3, 2]


def _row(member: Member) -> NDArray[np.float64]:
    direction = _affine(member)[:3, 0]
    return np.asarray(direction / np.linalg.norm(direction), dtype=np.float64)


def _corners(member: Member) -> NDArray[np.float64]:
    rows, columns = member.frame.shape
    indices = np.array([[c, r, 0.0, 1.0] for r in (0, rows - 1) for c in (0, columns - 1)])
    return np.asarray((indices @ _affine(member).T)[:, :3], dtype=np.float64)


def _affine(member: Member) -> Affine:
    assert member.frame.to_patient is not None, "only frames with a position are stacked"
    return member.frame.to_patient
