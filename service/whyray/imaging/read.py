"""Reads the instances of one study into source images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import Dataset, dcmread

from whyray.base.errors import ImageError, PatientMismatch, WhyRayError
from whyray.base.failures import raise_unreadable
from whyray.base.identification import OF_ONE_PATIENT, StatedPatient
from whyray.imaging.attributes import decimal_number, written_texts
from whyray.imaging.decode import stored_frames
from whyray.imaging.extent import refuse_too_large
from whyray.imaging.grouping import Group, Grouping, Refused, group_series, volume_of
from whyray.imaging.image_origin import origin_notes
from whyray.imaging.instance import Instance, open_instance, quiet, refusing_as_image_error, text
from whyray.imaging.isolated import IsolatedGdcm
from whyray.imaging.left_out import LeftOut, instance_name, left_out_note, unopened_image
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.photometry import (
    LookupTable,
    Window,
    is_shown_as_stored,
    percentile_window,
    voi_of,
)
from whyray.imaging.pixel_description import pixel_description
from whyray.imaging.pixel_frames import (
    LastFrames,
    PixelFrame,
    any_shows_something,
    display_of,
    is_colour,
    modality_of,
    padding_of,
    sample_of,
    stored_of,
)
from whyray.imaging.reading_progress import Counted, OnProgress
from whyray.imaging.repeats import same_instance
from whyray.imaging.source import SourceFrame, SourceImage
from whyray.imaging.stack import Member, slice_name
from whyray.imaging.unreadable import pass_over_unreadable

LEAST_DECODED = 0.5
"""Share of its slices that a volume needs to be one."""

MOST_QUOTED = 3
"""Attributes that one note names."""


@dataclass(frozen=True)
class Refusal:
    """What can't be used, and why. A file that names no instance has no `sop_instance_uids`, but a `source`."""

    sop_instance_uids: tuple[str, ...]
    error: WhyRayError
    source: Path | None = None


@dataclass(frozen=True)
class StudyImages:
    """All images of a study that can be used, and all that can't.

    `images`: series in the order of their first instance; in a series, volumes and frames in the order found.
    `patients`: by Study Instance UID what the headers state of its patient, also those of which no image was made.
    """

    images: tuple[SourceImage, ...]
    refusals: tuple[Refusal, ...] = ()
    patients: Mapping[str, StatedPatient] = field(default_factory=dict)

    def or_raise(self) -> tuple[SourceImage, ...]:
        """Return the images; where there is none, raise the first refusal's error."""
        if self.images:
            return self.images
        if self.refusals:
            raise self.refusals[0].error
        raise ImageError("expected at least one instance, found none")

    def of_one_patient(self, beside: Iterable[Path | Dataset] = ()) -> StudyImages:
        """Return itself, whose instances name one patient.

        Parameters
        ----------
        beside
            Other instances that are used with them, as segmentations; what can't be read among them says nothing.

        Raises
        ------
        PatientMismatch
            If instances of one study name two.
        """
        patients = deepcopy(dict(self.patients))
        with quiet():
            for header in filter(None, map(_identifying_header, beside)):
                patients.setdefault(text(header, "StudyInstanceUID"), StatedPatient()).add(header)
        for study, patient in patients.items():
            if keywords := patient.contradictions:
                raise PatientMismatch(
                    f"study {study}: its instances name more than one patient: they differ in {', '.join(keywords)}"
                )
        return self


def read_images(sources: Iterable[Path | str | Dataset], on_progress: OnProgress = lambda _: None) -> StudyImages:
    """Read the instances of one study; `on_progress` hears how far that is: a thousand slices take minutes.

    Pixels stay in memory as they are stored, 2 bytes a pixel of a CT, and are brought to modality units and to what is
    shown frame by frame: a thousand slices of 512 × 512 take 0.5 GiB.
    The same instance given twice counts once; two of one SOP Instance UID and another image are refused both. A slice
    that can't be used takes no other with it: what remains of its series says that it is missing.
    Raises ResourceExhausted when memory does not suffice, before it is taken as far as that can be known, and
    StorageUnavailable when a file can't be read now: a slice is never left out for that. Everything else that is wrong
    is a refusal, and so is an image of more than 4 GiB of stored pixels.
    """
    images: list[SourceImage] = []
    with quiet(), IsolatedGdcm() as isolated:
        opened = _open_all(list(sources), isolated, on_progress)
        refusals = opened.refusals
        decoded = Counted("frame", sum(instance.frame_count for instance in opened.instances.values()), on_progress)
        for series, instances in _by_series(opened.instances.values()).items():
            grouping = _grouped(instances)
            missing = [left_out for left_out in opened.left_out if left_out.series == series]
            series_images: list[SourceImage] = []
            for batch in _batches(grouping.groups):
                members = [member for group in batch for member in group.members]
                try:
                    with refusing_as_image_error(batch[0].uids[0], batch[0].members[0].instance.header):
                        made, lost = _images_of(batch, isolated, decoded)
                except ImageError as error:
                    made, lost = [], [Refused(tuple(members), error)]
                series_images.extend(made)
                grouping.refused += lost
            for refused in grouping.refused:
                refusals.append(Refusal(refused.uids, refused.error))
                missing.append(LeftOut(series, tuple(map(slice_name, refused.members)), refused.error))
            notes = tuple(map(left_out_note, missing))
            images.extend(replace(image, notes=image.notes + notes) for image in series_images)
    return StudyImages(tuple(images), tuple(refusals), opened.patients)


def _identifying_header(source: Path | Dataset) -> Dataset | None:
    """What says whose an instance is; None where it can't be read, which whoever uses it will say."""
    if isinstance(source, Dataset):
        return source
    try:
        return dcmread(source, stop_before_pixels=True, specific_tags=["StudyInstanceUID", *OF_ONE_PATIENT])
    except Exception as error:  # pydicom raises what it likes on nonsense
        raise_unreadable(error, "a file of the study")
        return None


@dataclass
class _Opened:
    """The instances of a study by SOP Instance UID, and what could not be used of it."""

    instances: dict[str, Instance] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    patients: dict[str, StatedPatient] = field(default_factory=lambda: defaultdict(StatedPatient))


def _open_all(sources: Sequence[Path | str | Dataset], isolated: IsolatedGdcm, on_progress: OnProgress) -> _Opened:
    opened = _Opened()
    contradictory: set[str] = set()
    counted = Counted("file", len(sources), on_progress)
    for source in sources:
        counted.one_more()
        source = source if isinstance(source, Dataset) else Path(source)
        try:
            instance = open_instance(source)
        except ImageError as error:
            opened.refusals.append(_unopened(source, error))
            left_out = unopened_image(source, error)
            opened.left_out += [left_out] if left_out else []
            continue
        with quiet():
            opened.patients[text(instance.header, "StudyInstanceUID")].add(instance.header)
        first = opened.instances.get(instance.uid)
        if instance.uid in contradictory:
            continue
        if first is None:
            opened.instances[instance.uid] = instance
            continue
        try:
            notes = same_instance(first, instance, isolated)
            opened.instances[instance.uid] = replace(first, notes=first.notes + notes)
        except ImageError as error:
            contradictory.add(instance.uid)
            del opened.instances[instance.uid]
            opened.refusals.append(Refusal((instance.uid,), error))
            names = (instance_name(instance.header),)
            opened.left_out += [LeftOut(series, names, error) for series in {first.series, instance.series}]
    return opened


def _by_series(instances: Iterable[Instance]) -> dict[str, list[Instance]]:
    series: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        series[instance.series].append(instance)
    return series


def _grouped(instances: Sequence[Instance]) -> Grouping:
    try:
        with refusing_as_image_error(instances[0].uid, instances[0].header):
            return group_series(instances)
    except ImageError as error:
        members = [Member(instance, SourceFrame(instance.uid, 1, instance.shape, None, None)) for instance in instances]
        return Grouping(refused=[Refused(tuple(members), error)])


def _unopened(source: Path | Dataset, error: ImageError) -> Refusal:
    if not isinstance(source, Dataset):
        return Refusal((), error, source)
    (uid,) = written_texts(source, "SOPInstanceUID")[:1]
    return Refusal((uid,) if uid else (), error)


@dataclass(frozen=True)
class _Decoded:
    """A frame, and what was wrong with its pixel data but could be resolved."""

    frame: PixelFrame
    notes: tuple[Note, ...]


def _batches(groups: Sequence[Group]) -> list[list[Group]]:
    """What is decoded together: a volume by itself, all planar frames of one instance at once."""
    batches: dict[object, list[Group]] = {}
    for index, group in enumerate(groups):
        batches.setdefault(index if group.kind == "volume" else group.uids[0], []).append(group)
    return list(batches.values())


def _images_of(
    batch: Sequence[Group], isolated: IsolatedGdcm, counted: Counted
) -> tuple[list[SourceImage], list[Refused]]:
    """Images of what is decoded together, and slices of a volume that could not be decoded, with the reason."""
    members = [member for group in batch for member in group.members]
    refuse_too_large(members)
    decoded, failed = _decode(members, isolated, counted)
    if failed:
        batch = [_without(failed, batch)]
    used = [member for group in batch for member in group.members]
    instances = {member.instance.uid: member.instance for member in used}
    passed_over = {uid: pass_over_unreadable(instance.header) for uid, instance in instances.items()}
    images, last = [], LastFrames()
    for group in batch:
        own = [decoded[_place(member)] for member in group.members]
        frames = [one.frame for one in own]
        of_frames = [
            (*one.notes, *passed_over[member.instance.uid], *one.frame.notes, *_of_origin(member))
            for one, member in zip(own, group.members, strict=True)
        ]
        voi, notes = (
            ([None] * len(frames), ()) if is_colour(group.members[0].instance.header) else _windows(group, frames)
        )
        images.append(
            SourceImage(
                kind=group.kind,
                frames=tuple(member.frame for member in group.members),
                headers={member.instance.uid: member.instance.header for member in group.members},
                modality=modality_of(frames, last),
                display=display_of(frames, voi, last),
                padding=padding_of(frames, last),
                notes=group.notes + _in_one_note_each(group.members, of_frames) + notes,
                digests={member.instance.uid: member.instance.digest for member in group.members},
                stored=stored_of(frames),
            )
        )
    lost = [
        Refused(tuple(member for member in members if member.instance.uid == uid), error)
        for uid, error in failed.items()
    ]
    return images, lost


def _without(failed: Mapping[str, ImageError], batch: Sequence[Group]) -> Group:
    """A volume without the slices that could not be decoded; raises the first error where most could not."""
    (group,) = batch
    kept = [member for member in group.members if member.instance.uid not in failed]
    if len(kept) < LEAST_DECODED * len(group.members):
        raise next(iter(failed.values()))
    remaining = volume_of(kept)
    of_series = tuple(note for note in group.notes if note.kind in (NoteKind.SPLIT_SERIES, NoteKind.REPEATED))
    return replace(remaining, notes=of_series + remaining.notes)


def _in_one_note_each(members: Sequence[Member], of_frames: Sequence[tuple[Note, ...]]) -> tuple[Note, ...]:
    """Notes of frames and their instances, each once however many frames it is of."""
    places: dict[Note, list[Member]] = {}
    for member, notes in zip(members, of_frames, strict=True):
        for note in (*member.instance.notes, *member.notes, *notes):
            places.setdefault(note, []).append(member)
    if len(members) == 1:
        return tuple(places)
    return tuple(
        Note(
            note.kind,
            f"{note.detail} (in {len(of)} of {len(members)} frames, first in frame {of[0].frame.frame_number} of "
            f"instance {of[0].instance.uid})",
        )
        for note, of in places.items()
    )


def _of_origin(member: Member) -> tuple[Note, ...]:
    return origin_notes(member.instance.header, member.frame.frame_number)


def _place(member: Member) -> tuple[str, int]:
    return member.instance.uid, member.frame.frame_number


def _decode(
    members: Sequence[Member], isolated: IsolatedGdcm, counted: Counted
) -> tuple[dict[tuple[str, int], _Decoded], dict[str, ImageError]]:
    """Decode all members, by instance and frame number; say why instances could not be decoded.

    Raises ImageError where no instance could.
    """
    wanted: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        wanted[member.instance.uid].append(member)
    shape, colour = members[0].instance.shape, is_colour(members[0].instance.header)
    decoded: dict[tuple[str, int], _Decoded] = {}
    failed: dict[str, ImageError] = {}
    for uid, of_instance in wanted.items():
        instance = of_instance[0].instance
        numbers = sorted({member.frame.frame_number for member in of_instance})
        try:
            with refusing_as_image_error(uid, instance.header):
                data, in_file = instance.with_pixels_in_file()
                frames = stored_frames(data, uid, numbers, isolated, in_file)
            for number in numbers:
                with refusing_as_image_error(uid, instance.header):
                    frame = next(frames)
                    made = PixelFrame.of(instance, number, frame.values)
                    if (made.stored.shape[:2], made.transform is None) != (shape, colour):
                        raise ImageError(f"instance {uid}: expected frames of {shape}, found {frame.values.shape}")
                    decoded[uid, number] = _Decoded(made, frame.notes)
                counted.one_more()
        except ImageError as error:
            failed[uid] = error
    if len(failed) == len(wanted):
        raise next(iter(failed.values()))
    return decoded, failed


def _windows(group: Group, frames: Sequence[PixelFrame]) -> tuple[Sequence[Window | LookupTable], tuple[Note, ...]]:
    """By what each monochrome frame is shown, and what had to be decided for the source."""
    given = [voi_of(member.instance.header, member.frame.frame_number) for member in group.members]
    usable = [voi.chosen for voi in given if voi.chosen is not None]
    passed_over = list(dict.fromkeys(words for voi in given for words in voi.unusable))
    why = f" that can be used ({_some(passed_over)})" if passed_over else ""
    reason = ""
    fallback: Window | None = None
    if not usable and _is_eight_bit(group.members[0].instance):
        fallback = Window(127.5, 255.0, "LINEAR_EXACT")
        reason = f"no window in the source{why}: shown from 0 to 255, as stored" if passed_over else ""
    elif not usable:
        fallback = percentile_window(sample_of(frames))
        reason = f"no window in the source{why}: shown from the 0.5th to the 99.5th percentile"
    elif not any_shows_something(_distinct(usable), frames):
        fallback = percentile_window(sample_of(frames))
        reason = "the source's window fits no pixel: shown from the 0.5th to the 99.5th percentile"
    elif passed_over:
        reason = f"passed over, since it can't be applied: {_some(passed_over)}; what else the source gives is shown"
    kind = NoteKind.WINDOW_REPLACED if usable or passed_over else NoteKind.NO_WINDOW
    notes = (Note(kind, reason),) if reason else ()
    return [fallback or voi.chosen or usable[0] for voi in given], notes


def _some(words: Sequence[str]) -> str:
    """The first few of many, and how many more there are."""
    more = len(words) - MOST_QUOTED
    return "; ".join(words[:MOST_QUOTED]) + (f"; and {more} more" if more > 0 else "")


def _distinct(usable: Sequence[Window | LookupTable]) -> list[Window | LookupTable]:
    windows = dict.fromkeys(voi for voi in usable if isinstance(voi, Window))
    tables = [voi for voi in usable if isinstance(voi, LookupTable)]
    return [*windows, *tables[:1]]


def _is_eight_bit(instance: Instance) -> bool:
    """Whether stored values are display values: 8 bits, unsigned, no modality transformation."""
    header = instance.header
    plain = "ModalityLUTSequence" not in header and (decimal_number(header, "RescaleSlope") or 1) == 1
    plain = plain or is_shown_as_stored(header)
    pixels = pixel_description(header)
    return plain and pixels.bits_stored == 8 and not pixels.signed
