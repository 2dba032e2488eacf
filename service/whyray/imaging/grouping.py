"""Which frames of a series belong together, and in which order: by geometry, never by Instance Number alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from whyray.errors import GeometryError
from whyray.imaging.acquisition import written_in
from whyray.imaging.differences import split_note, uneven_note
from whyray.imaging.geometry import frame_geometry, pixel_aspect_ratio
from whyray.imaging.instance import Instance, refusing_as_image_error
from whyray.imaging.notes import Note
from whyray.imaging.source import SourceFrame
from whyray.imaging.splitting import by_phase, by_reconstruction, volumes_of
from whyray.imaging.stack import Member, along_normal, gap_notes, named, sharing_places

CROSS_SECTIONAL = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.128": "Positron Emission Tomography Image Storage",
}
"""Single-frame classes whose instances are slices of a volume."""


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
    slices: list[Member] = []
    for instance in instances:
        for member in _members(instance):
            if _is_slice(member, instance):
                slices.append(member)
            else:
                result.groups.append(Group("planar", (member,)))
    without = [member for member in slices if member.frame.to_patient is None]
    if not without:
        _place(result, slices)
    elif len(slices) == 1:
        result.groups.append(Group("planar", tuple(without)))
    else:
        result.refuse(
            slices,
            GeometryError(
                f"series {slices[0].instance.series}: expected Image Position, Image Orientation (Patient) and "
                f"Pixel Spacing in every slice, found {len(without)} of {len(slices)} slices without"
            ),
        )
    return result


def volume_of(members: Sequence[Member]) -> Group:
    """A group of slices that lie one behind the other, in order, with notes on how they lie; one slice is planar."""
    if len(members) == 1:
        return Group("planar", tuple(members))
    ordered = along_normal(members)
    return Group("volume", tuple(ordered), (*gap_notes(ordered), *uneven_note(ordered)))


def _members(instance: Instance) -> list[Member]:
    with refusing_as_image_error(instance.uid, instance.header):
        found = []
        ratio = pixel_aspect_ratio(instance.header) or (1.0, 1.0)
        for number in range(1, instance.frame_count + 1):
            spacing, to_patient = frame_geometry(instance.header, number)
            frame = SourceFrame(instance.uid, number, instance.shape, spacing, to_patient, ratio)
            found.append(Member(instance, frame, written_in(instance.header, number)))
        return found


def _is_slice(member: Member, instance: Instance) -> bool:
    """Slices of cross-sectional classes, and frames of multi-frame instances that say where they lie."""
    if "LOCALIZER" in [str(value) for value in instance.header.get("ImageType") or []]:
        return False
    if instance.sop_class in CROSS_SECTIONAL:
        return True
    multi_frame = instance.frame_count > 1 or "SharedFunctionalGroupsSequence" in instance.header
    return multi_frame and member.frame.to_patient is not None


def _place(result: Grouping, slices: Sequence[Member]) -> None:
    """Turn slices into volumes, each of slices that were acquired and reconstructed alike."""
    parts: list[list[Member]] = []
    for alike in by_reconstruction(slices):
        for part, is_volume in volumes_of(alike):
            phases = [part] if is_volume else by_phase(part)
            if phases is None:
                result.refuse(part, _shared_places(part))
            else:
                parts.extend(phases)
    for part in parts:
        group = volume_of(part)
        result.groups.append(replace(group, notes=(*split_note(part, parts), *group.notes)))


def _shared_places(part: Sequence[Member]) -> GeometryError:
    places = sharing_places(part)
    shown = "; ".join(named(place, most=3) for place in places[:3])
    more = f"; and {len(places) - 3} more places" if len(places) > 3 else ""
    return GeometryError(
        f"series {part[0].instance.series}: expected slices in different places, found several in the same place among "
        f"{len(part)}, with nothing that tells them apart: {shown}{more}"
    )
