"""Which frames of a series belong together, and in which order: by geometry, never by Instance Number alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydicom.uid import (
    BreastTomosynthesisImageStorage,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    XRay3DAngiographicImageStorage,
    XRay3DCraniofacialImageStorage,
)

from whyray.base.errors import GeometryError, ImageError
from whyray.imaging.acquisition import written_in
from whyray.imaging.attributes import attribute_name, written_texts
from whyray.imaging.completeness import rescale_note, set_apart_without_rescale
from whyray.imaging.differences import split_notes, uneven_note
from whyray.imaging.functional_groups import holder_of
from whyray.imaging.geometry import frame_geometry, pixel_aspect_ratio
from whyray.imaging.instance import Instance, refusing_as_image_error
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.pixel_spacing import pixel_spacing
from whyray.imaging.repeats import drop_repeats, repeated_note
from whyray.imaging.source import SourceFrame
from whyray.imaging.splitting import by_acquisition, by_phase, by_reconstruction, volumes_of
from whyray.imaging.stack import Member, along_normal, gap_notes, is_filled, named, sharing_places, stacks_up
from whyray.imaging.ultrasound_regions import pixel_proportions

CROSS_SECTIONAL = frozenset({CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage})
"""Single-frame classes whose instances are slices of a volume."""

ENHANCED = frozenset(
    {
        BreastTomosynthesisImageStorage,
        EnhancedCTImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        EnhancedMRImageStorage,
        EnhancedMRColorImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
        EnhancedPETImageStorage,
        LegacyConvertedEnhancedPETImageStorage,
        XRay3DAngiographicImageStorage,
        XRay3DCraniofacialImageStorage,
    }
)
"""Multi-frame classes whose frames are slices."""

PLACELESS = "; the image has no place in the patient"


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


@dataclass(frozen=True)
class Refused:
    """Frames that belong to no group, and why."""

    members: tuple[Member, ...]
    error: ImageError

    @property
    def uids(self) -> tuple[str, ...]:
        """SOP Instance UIDs, each once, in order."""
        return tuple(dict.fromkeys(member.instance.uid for member in self.members))


@dataclass
class Grouping:
    """What became of one series."""

    groups: list[Group] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    def refuse(self, members: Iterable[Member], error: ImageError) -> None:
        """Record that these frames can't be used, and why."""
        self.refused.append(Refused(tuple(members), error))


def group_series(instances: Sequence[Instance]) -> Grouping:
    """Sort the instances of one series into planar frames and volumes.

    A slice that can't be used takes no other with it.
    """
    result = Grouping()
    slices: list[Member] = []
    for instance in instances:
        try:
            with refusing_as_image_error(instance.uid, instance.header):
                members = members_of(instance)
                are_slices = _are_slices(instance, members)
        except ImageError as error:
            whole = SourceFrame(instance.uid, 1, instance.shape, None, None)
            result.refuse([Member(instance, whole)], error)
            continue
        if are_slices:
            slices += members
        else:
            result.groups.extend(Group("planar", (member,), rescale_note([member])) for member in members)
    if len(slices) == 1 and not _is_placed(slices[0]):
        result.groups.append(Group("planar", tuple(slices), rescale_note(slices)))
    elif slices:
        _place(result, _comparable(result, _placed(result, slices)))
    return result


def volume_of(members: Sequence[Member]) -> Group:
    """A group of slices that lie one behind the other, in order, with notes on how they lie; one slice is planar."""
    if len(members) == 1:
        return Group("planar", tuple(members), rescale_note(members))
    ordered = along_normal(members)
    return Group("volume", tuple(ordered), (*gap_notes(ordered), *uneven_note(ordered), *rescale_note(ordered)))


def members_of(instance: Instance) -> list[Member]:
    """The frames of an instance; one whose place in the patient is unusable has none, and a note that says so."""
    header = instance.header
    ratio = pixel_aspect_ratio(header) or pixel_proportions(header) or (1.0, 1.0)
    members = []
    for number in range(1, instance.frame_count + 1):
        notes: tuple[Note, ...] = ()
        try:
            spacing, to_patient = frame_geometry(header, number)
        except GeometryError as error:
            spacing, to_patient = pixel_spacing(header, number), None
            notes = (Note(NoteKind.POSITION_UNKNOWN, f"{error.message}{PLACELESS}"),)
        frame = SourceFrame(instance.uid, number, instance.shape, spacing, to_patient, ratio)
        members.append(Member(instance, frame, written_in(header, number), notes))
    return members


def _are_slices(instance: Instance, members: Sequence[Member]) -> bool:
    """Whether these are slices of cross-sectional classes, or frames of a multi-frame instance that say where they lie.

    A localizer is a picture by itself, whatever it is stored as.
    """
    if "LOCALIZER" in written_texts(instance.header, "ImageType"):
        return False
    if instance.sop_class in CROSS_SECTIONAL:
        return True
    if instance.frame_count == 1 and "SharedFunctionalGroupsSequence" not in instance.header:
        return False
    meant_as_slices = instance.sop_class in ENHANCED and any(member.notes for member in members)
    return meant_as_slices or any(_is_placed(member) for member in members)


def _is_placed(member: Member) -> bool:
    return member.frame.to_patient is not None


def _placed(result: Grouping, slices: Sequence[Member]) -> list[Member]:
    """The slices that say where they lie; the others are refused, by what they lack."""
    without: dict[str, list[Member]] = defaultdict(list)
    for member in slices:
        if member.notes:
            words = member.notes[0].detail.removesuffix(PLACELESS)
            result.refuse([member], GeometryError(words))
        elif not _is_placed(member):
            without[_missing(member)].append(member)
    for names, members in without.items():
        result.refuse(
            members,
            GeometryError(
                f"series {members[0].instance.series}: expected {names} in every slice, found {len(members)} of "
                f"{len(slices)} slices without: {named(members)}"
            ),
        )
    return [member for member in slices if _is_placed(member)]


def _missing(member: Member) -> str:
    places = {"ImagePositionPatient": "PlanePositionSequence", "ImageOrientationPatient": "PlaneOrientationSequence"}
    header, number = member.instance.header, member.frame.frame_number
    missing = [keyword for keyword, group in places.items() if holder_of(header, number, group, keyword) is None]
    if member.frame.spacing is None:
        missing.append("PixelSpacing")
    return " and ".join(map(attribute_name, missing))


def _comparable(result: Grouping, slices: Sequence[Member]) -> list[Member]:
    """The slices whose values can be compared; the others are refused."""
    if not slices:
        return []
    kept, refused = set_apart_without_rescale(slices)
    for members, error in refused:
        result.refuse(members, error)
    return kept


def _place(result: Grouping, slices: Sequence[Member]) -> None:
    """Turn slices into volumes, each of slices that were acquired and reconstructed alike."""
    parts: list[list[Member]] = []
    repeated: dict[int, tuple[Note, ...]] = {}
    for alike in by_reconstruction(slices):
        for part, is_volume in volumes_of(alike):
            phases, repeats = ([part], []) if is_volume else _by_phase(part)
            if phases is None:
                result.refuse(part, _shared_places(part))
                continue
            parts.extend(phases)
            repeated.update((id(phase), (repeated_note(repeats),)) for phase in phases if repeats)
    for part, split in zip(parts, split_notes(parts), strict=True):
        group = volume_of(part)
        notes = (*split, *repeated.get(id(part), ()), *group.notes)
        result.groups.append(replace(group, notes=notes))


def _by_phase(part: list[Member]) -> tuple[list[list[Member]] | None, list[Member]]:
    """Slices that share places → the volumes that they are (None where nothing tells), and what was sent repeatedly.

    Slices of several phases may be alike by chance (air above the head): they are repeats only where what remains is
    whole.
    """
    kept, repeats = drop_repeats(part)
    if repeats:
        if stacks_up(kept):
            return by_acquisition(kept), repeats
        if is_filled(kept) and (phases := by_phase(kept)) is not None:
            return phases, repeats
    phases = by_phase(part)
    if phases is not None or not repeats:
        return phases, []
    return by_phase(kept), repeats


def _shared_places(part: Sequence[Member]) -> GeometryError:
    places = sharing_places(part)
    shown = "; ".join(named(place, most=3) for place in places[:3])
    more = f"; and {len(places) - 3} more places" if len(places) > 3 else ""
    return GeometryError(
        f"series {part[0].instance.series}: expected slices in different places, found several in the same place among "
        f"{len(part)}, with nothing that tells them apart: {shown}{more}"
    )
