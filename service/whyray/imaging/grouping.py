"""Which frames of a series belong together, and in which order: by geometry, never by Instance Number."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyray.errors import GeometryError
from whyray.imaging.functional_groups import group_item
from whyray.imaging.geometry import frame_geometry, pixel_aspect_ratio
from whyray.imaging.instance import Instance, refusing_as_image_error, text
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.source import Affine, SourceFrame

CROSS_SECTIONAL = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.128": "Positron Emission Tomography Image Storage",
}
"""Single-frame classes whose instances are slices of a volume."""

SAME_PLANE_MM = 0.01
"""Two slices closer than this lie in the same place."""

PARALLEL = np.cos(np.radians(0.5))
FAN = np.cos(np.radians(40.0))
"""Normals nearer than these angles are one orientation, or one orientation with a gantry tilt that changes."""

GAP = 1.5
"""An interval longer than this many times both its neighbours is called a gap."""

PHASES = (
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "EchoNumbers",
    "EchoTime",
    "TriggerTime",
    "DiffusionBValue",
    "InversionTime",
    "ConvolutionKernel",
    "ImageType",
    "AcquisitionTime",
    "ContentTime",
)
"""What tells volumes apart that lie in the same place (phases, echoes, b-values, kernels), tried in this order."""


@dataclass(frozen=True)
class Member:
    """One frame on its way into an image."""

    instance: Instance
    frame: SourceFrame


Describe = Callable[[Member], Hashable]


@dataclass(frozen=True)
class Group:
    """Frames that become one SourceImage, in order."""

    kind: Literal["planar", "volume"]
    members: tuple[Member, ...]
    notes: tuple[Note, ...] = ()

    @property
    def uids(self) -> tuple[str, ...]:
        """SOP Instance UIDs, each once, in order."""
        return tuple(dict.fromkeys(member.instance.uid for member in self.members))


@dataclass
class Grouping:
    """What became of one series: groups, and (SOP Instance UIDs, error) of what belongs to none."""

    groups: list[Group] = field(default_factory=list)
    refused: list[tuple[tuple[str, ...], GeometryError]] = field(default_factory=list)

    def refuse(self, members: Iterable[Member], error: GeometryError) -> None:
        """Record that these frames can't be used, and why."""
        self.refused.append((tuple(dict.fromkeys(member.instance.uid for member in members)), error))


def group_series(instances: Sequence[Instance]) -> Grouping:
    """Sort the instances of one series into planar frames and volumes."""
    result = Grouping()
    stacks: dict[Hashable, list[Member]] = defaultdict(list)
    for instance in instances:
        for member in _members(instance):
            if _is_slice(member, instance):
                stacks[_stack_key(member)].append(member)
            else:
                result.groups.append(Group("planar", (member,)))
    lone_slices = sum(len(members) for members in stacks.values()) == 1
    for members in stacks.values():
        without = [member for member in members if member.frame.to_patient is None]
        if not without:
            _place(result, members)
        elif lone_slices:
            result.groups.append(Group("planar", tuple(without)))
        else:
            result.refuse(
                members,
                GeometryError(
                    f"series {members[0].instance.series}: expected Image Position, Image Orientation (Patient) and "
                    f"Pixel Spacing in every slice, found {len(without)} of {len(members)} slices without"
                ),
            )
    return result


def signed_distances(members: Sequence[Member]) -> NDArray[np.float64]:
    """Position of each slice along the mean normal, in mm (PS3.3 section C.7.6.2.1.1: origin projected on normal)."""
    normals = np.array([_normal(member) for member in members])
    mean = normals.mean(axis=0)
    centres = np.array([_corners(member).mean(axis=0) for member in members])
    return centres @ (mean / np.linalg.norm(mean))  # type: ignore[no-any-return]


def _members(instance: Instance) -> list[Member]:
    with refusing_as_image_error(instance.uid, instance.header):
        found = []
        ratio = pixel_aspect_ratio(instance.header) or (1.0, 1.0)
        for number in range(1, instance.frame_count + 1):
            spacing, to_patient = frame_geometry(instance.header, number)
            frame = SourceFrame(instance.uid, number, instance.shape, spacing, to_patient, ratio)
            found.append(Member(instance, frame))
        return found


def _is_slice(member: Member, instance: Instance) -> bool:
    """Slices of cross-sectional classes, and frames of multi-frame instances that say where they lie."""
    if "LOCALIZER" in [str(value) for value in instance.header.get("ImageType") or []]:
        return False
    if instance.sop_class in CROSS_SECTIONAL:
        return True
    multi_frame = instance.frame_count > 1 or "SharedFunctionalGroupsSequence" in instance.header
    return multi_frame and member.frame.to_patient is not None


def _stack_key(member: Member) -> Hashable:
    header = member.instance.header
    content = group_item(header, member.frame.frame_number, "FrameContentSequence")
    return (
        member.frame.shape,
        str(member.instance.sop_class),
        int(header.get("SamplesPerPixel") or 1),
        text(header, "PhotometricInterpretation"),
        text(header, "FrameOfReferenceUID"),
        member.frame.spacing is None,
        "" if content is None else text(content, "StackID"),
    )


def _place(result: Grouping, members: list[Member]) -> None:
    """Turn slices of one shape into volumes: one where they stack up as they are, else one an orientation and phase."""
    for similar in _cluster(members, FAN):
        if _stacks_up(similar):
            result.groups.append(_sorted_group(similar))
            continue
        for parallel in _cluster(similar, PARALLEL):
            if _stacks_up(parallel):
                result.groups.append(_sorted_group(parallel))
                continue
            phases = _phases(parallel)
            if phases is None:
                result.refuse(
                    parallel,
                    GeometryError(
                        f"series {parallel[0].instance.series}: expected slices in different places, found several "
                        f"in the same place among {len(parallel)}, with nothing that tells them apart"
                    ),
                )
            else:
                result.groups.extend(_sorted_group(phase) for phase in phases)


def _cluster(members: Sequence[Member], cosine: float) -> list[list[Member]]:
    """Members whose normals, and row directions, agree with the first of a cluster."""
    clusters: list[list[Member]] = []
    for member in members:
        for cluster in clusters:
            same_normal = _normal(member) @ _normal(cluster[0]) > cosine
            if same_normal and _row(member) @ _row(cluster[0]) > cosine:
                cluster.append(member)
                break
        else:
            clusters.append([member])
    return clusters


def _stacks_up(members: Sequence[Member]) -> bool:
    """Whether the slices, sorted, lie one behind the other everywhere in the field of view."""
    order = np.argsort(signed_distances(members), kind="stable")
    ordered = [members[index] for index in order]
    for below, above in itertools.pairwise(ordered):
        normal, origin = _normal(below), _affine(below)[:3, 3]
        if np.min((_corners(above) - origin) @ normal) < SAME_PLANE_MM:
            return False
    return True


def _phases(members: Sequence[Member]) -> list[list[Member]] | None:
    """Split slices that share places so that each part stacks up; None when no attribute tells them apart.

    There must be as many parts as slices in the fullest place: times that differ from slice to slice are no phases.
    """
    wanted = _most_in_one_place(members)
    single = [*(_attribute(keyword) for keyword in PHASES), _dimensions, _multi_frame_instance]
    pairs = [_both(first, second) for first, second in itertools.combinations(single, 2)]
    for describe in single + pairs:
        parts: dict[Hashable, list[Member]] = defaultdict(list)
        for member in members:
            parts[describe(member)].append(member)
        if len(parts) == wanted and all(_stacks_up(part) for part in parts.values()):
            return [parts[key] for key in sorted(parts, key=str)]
    return None


def _most_in_one_place(members: Sequence[Member]) -> int:
    distances = np.sort(signed_distances(members))
    places = np.concatenate([[0], np.cumsum(np.diff(distances) >= SAME_PLANE_MM)])
    return int(np.bincount(places).max())


def _both(first: Describe, second: Describe) -> Describe:
    return lambda member: (first(member), second(member))


def _attribute(keyword: str) -> Describe:
    return lambda member: text(member.instance.header, keyword)


def _dimensions(member: Member) -> Hashable:
    """Dimension Index Values of a multi-frame instance except those of the stack: PS3.3 section C.7.6.17."""
    header = member.instance.header
    content = group_item(header, member.frame.frame_number, "FrameContentSequence")
    values: list[Any] = [] if content is None else list(content.get("DimensionIndexValues") or [])
    pointers = [index.get("DimensionIndexPointer") for index in header.get("DimensionIndexSequence") or []]
    spatial = {0x00209056, 0x00209057, 0x00200032, 0x00200037}
    return tuple(value for value, pointer in zip(values, pointers, strict=False) if pointer not in spatial)


def _multi_frame_instance(member: Member) -> Hashable:
    return member.instance.uid if member.instance.frame_count > 1 else ""


def _sorted_group(members: Sequence[Member]) -> Group:
    if len(members) == 1:
        return Group("planar", tuple(members))
    distances = signed_distances(members)
    order = np.argsort(distances, kind="stable")
    steps = np.diff(distances[order])
    notes = []
    for index, step in enumerate(steps):
        beside = [steps[other] for other in (index - 1, index + 1) if 0 <= other < len(steps)]
        if beside and step > GAP * max(beside):
            uid = members[order[index]].frame.sop_instance_uid
            words = f"gap of {step:.2f} mm after instance {uid}, {step / max(beside):.1f} times its neighbours"
            notes.append(Note(NoteKind.GAP, words))
    return Group("volume", tuple(members[index] for index in order), tuple(notes))


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
