"""Instances of one study → source images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset

from whyray.errors import ImageError, WhyRayError
from whyray.imaging.attributes import decimal_number, written_texts
from whyray.imaging.decode import stored_frames
from whyray.imaging.grouping import Group, Member, group_series
from whyray.imaging.instance import Instance, open_instance, quiet, refusing_as_image_error, text
from whyray.imaging.isolated import IsolatedGdcm
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.photometry import (
    LUMA,
    MONOCHROME,
    LookupTable,
    Window,
    as_rgb,
    modality_values,
    padding_mask,
    percentile_window,
    shows_something,
    voi_of,
)
from whyray.imaging.pixel_description import pixel_description
from whyray.imaging.source import BoolArray, FloatArray, SourceImage
from whyray.imaging.unreadable import pass_over_unreadable

SAMPLE = 2_000_000

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
    """

    images: tuple[SourceImage, ...]
    refusals: tuple[Refusal, ...] = ()

    def or_raise(self) -> tuple[SourceImage, ...]:
        """Return the images; where there is none, raise the first refusal's error."""
        if self.images:
            return self.images
        if self.refusals:
            raise self.refusals[0].error
        raise ImageError("expected at least one instance, found none")


def read_images(sources: Iterable[Path | str | Dataset]) -> StudyImages:
    """Read the instances of one study.

    Files are read twice, header and then pixels, so that a volume costs 2.25 times its float32 size and one instance:
    a thousand slices of 512 × 512 (1 GiB as float32) peak at 2.5 GiB.
    The same SOP Instance UID given twice counts once. One slice that can't be decoded refuses its whole volume.
    Raises ResourceExhausted when memory does not suffice; everything else that is wrong is a refusal.
    """
    refusals: list[Refusal] = []
    series: dict[str, dict[str, Instance]] = defaultdict(dict)
    images: list[SourceImage] = []
    with quiet(), IsolatedGdcm() as isolated:
        for source in sources:
            try:
                instance = open_instance(source if isinstance(source, Dataset) else Path(source))
            except ImageError as error:
                refusals.append(_unopened(source, error))
                continue
            series[instance.series].setdefault(instance.uid, instance)
        for instances in series.values():
            for batch in _batches(_groups(list(instances.values()), refusals)):
                try:
                    with refusing_as_image_error(batch[0].uids[0], batch[0].members[0].instance.header):
                        images.extend(_images_of(batch, isolated))
                except ImageError as error:
                    refusals.append(Refusal(tuple(dict.fromkeys(uid for group in batch for uid in group.uids)), error))
    return StudyImages(tuple(images), tuple(refusals))


def _unopened(source: Path | str | Dataset, error: ImageError) -> Refusal:
    if not isinstance(source, Dataset):
        return Refusal((), error, Path(source))
    (uid,) = written_texts(source, "SOPInstanceUID")[:1]
    return Refusal((uid,) if uid else (), error)


def _groups(instances: Sequence[Instance], refusals: list[Refusal]) -> list[Group]:
    try:
        with refusing_as_image_error(instances[0].uid, instances[0].header):
            grouping = group_series(instances)
    except ImageError as error:
        refusals.append(Refusal(tuple(instance.uid for instance in instances), error))
        return []
    refusals.extend(Refusal(uids, error) for uids, error in grouping.refused)
    return grouping.groups


@dataclass(frozen=True)
class _Pixels:
    """The arrays of SourceImage; `display` is still to be rendered where the image is monochrome."""

    modality: FloatArray
    display: FloatArray
    padding: BoolArray


def _batches(groups: Sequence[Group]) -> list[list[Group]]:
    """What is decoded together: a volume by itself, all planar frames of one instance at once."""
    batches: dict[object, list[Group]] = {}
    for index, group in enumerate(groups):
        batches.setdefault(index if group.kind == "volume" else group.uids[0], []).append(group)
    return list(batches.values())


def _images_of(batch: Sequence[Group], isolated: IsolatedGdcm) -> list[SourceImage]:
    members = [member for group in batch for member in group.members]
    pixels, told = _decode(members, isolated)
    instances = {member.instance.uid: member.instance for member in members}
    passed_over = {uid: pass_over_unreadable(instance.header) for uid, instance in instances.items()}
    told = [(*notes, *passed_over[member.instance.uid]) for member, notes in zip(members, told, strict=True)]
    images, start = [], 0
    for group in batch:
        place = slice(start, start + len(group.members))
        start = place.stop
        own = _Pixels(pixels.modality[place], pixels.display[place], pixels.padding[place])
        notes = group.notes + _in_one_note_each(group.members, told[place])
        if own.display.ndim < 4:
            notes += _render(group, own)
        images.append(
            SourceImage(
                kind=group.kind,
                frames=tuple(member.frame for member in group.members),
                headers={member.instance.uid: member.instance.header for member in group.members},
                modality=own.modality,
                display=own.display,
                padding=own.padding,
                notes=notes,
                digests={member.instance.uid: member.instance.digest for member in group.members},
            )
        )
    return images


def _in_one_note_each(members: Sequence[Member], told: Sequence[tuple[Note, ...]]) -> tuple[Note, ...]:
    """Notes of frames and their instances, each once however many frames it is of."""
    places: dict[Note, list[Member]] = {}
    for member, notes in zip(members, told, strict=True):
        for note in (*member.instance.notes, *notes):
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


def _decode(members: Sequence[Member], isolated: IsolatedGdcm) -> tuple[_Pixels, list[tuple[Note, ...]]]:
    """Decode all members, and say of each what was wrong with its pixel data but could be resolved."""
    first = members[0].instance
    shape = (len(members), *first.shape)
    colour = text(first.header, "PhotometricInterpretation") not in MONOCHROME
    pixels = _Pixels(
        np.empty(shape, np.float32), np.empty((*shape, 3) if colour else shape, np.float32), np.zeros(shape, np.bool_)
    )
    told: list[tuple[Note, ...]] = [()] * len(members)
    wanted: dict[str, dict[int, int]] = defaultdict(dict)
    instances: dict[str, Instance] = {}
    for place, member in enumerate(members):
        wanted[member.instance.uid][member.frame.frame_number] = place
        instances[member.instance.uid] = member.instance
    for uid, places in wanted.items():
        with refusing_as_image_error(uid, instances[uid].header):
            _fill(pixels, told, instances[uid], places, isolated)
    return pixels, told


def _fill(
    pixels: _Pixels,
    told: list[tuple[Note, ...]],
    instance: Instance,
    places: dict[int, int],
    isolated: IsolatedGdcm,
) -> None:
    """Decode the frames of one instance into their places; `places` maps frame numbers to places."""
    numbers = sorted(places)
    header = instance.header
    frames = stored_frames(instance.with_pixels(), instance.uid, numbers, isolated)
    for number, frame in zip(numbers, frames, strict=True):
        place, stored = places[number], frame.values
        told[place] = frame.notes
        if stored.shape[:2] != pixels.modality.shape[1:]:
            raise ImageError(f"instance {instance.uid}: expected frames of {instance.shape}, found {stored.shape[:2]}")
        if pixels.display.ndim == 4:
            pixels.display[place] = as_rgb(header, stored)
            pixels.modality[place] = pixels.display[place] @ (LUMA * np.float32(255))
        else:
            values = modality_values(header, number, stored)
            if not np.isfinite(values).all():
                raise ImageError(f"instance {instance.uid}: expected finite modality values, found NaN or infinity")
            pixels.modality[place] = values
            pixels.padding[place] = padding_mask(header, stored)


def _render(group: Group, pixels: _Pixels) -> tuple[Note, ...]:
    """Fill `display` frame by frame; return what had to be decided for the source."""
    modality, display, padding = pixels.modality, pixels.display, pixels.padding
    given = [voi_of(member.instance.header, member.frame.frame_number) for member in group.members]
    shown = _sample(modality, padding)
    usable = [voi.chosen for voi in given if voi.chosen is not None]
    passed_over = list(dict.fromkeys(words for voi in given for words in voi.unusable))
    why = f" that can be used ({_some(passed_over)})" if passed_over else ""
    reason = ""
    fallback: Window | None = None
    if not usable and _is_eight_bit(group.members[0].instance):
        fallback = Window(127.5, 255.0, "LINEAR_EXACT")
        reason = f"no window in the source{why}: shown from 0 to 255, as stored" if passed_over else ""
    elif not usable:
        fallback = percentile_window(shown)
        reason = f"no window in the source{why}: shown from the 0.5th to the 99.5th percentile"
    elif not any(shows_something(voi, shown) for voi in _distinct(usable)):
        fallback = percentile_window(shown)
        reason = "the source's window fits no pixel: shown from the 0.5th to the 99.5th percentile"
    elif passed_over:
        reason = f"passed over, since it can't be applied: {_some(passed_over)}; what else the source gives is shown"
    for place, (member, voi) in enumerate(zip(group.members, given, strict=True)):
        chosen = fallback or voi.chosen or usable[0]
        display[place] = chosen.apply(modality[place])
        if text(member.instance.header, "PhotometricInterpretation") == "MONOCHROME1":
            np.subtract(1, display[place], out=display[place])
        display[place][padding[place]] = 0
    return (Note(NoteKind.WINDOW_REPLACED, reason),) if reason else ()


def _some(words: Sequence[str]) -> str:
    """The first few of many, and how many more there are."""
    more = len(words) - MOST_QUOTED
    return "; ".join(words[:MOST_QUOTED]) + (f"; and {more} more" if more > 0 else "")


def _sample(modality: FloatArray, padding: BoolArray) -> FloatArray:
    """Up to two million values that are no padding, spread over the image: enough for percentiles, little memory."""
    step = max(1, modality.size // SAMPLE) | 1
    return np.asarray(modality.reshape(-1)[::step][~padding.reshape(-1)[::step]])


def _distinct(usable: Sequence[Window | LookupTable]) -> list[Window | LookupTable]:
    windows = dict.fromkeys(voi for voi in usable if isinstance(voi, Window))
    tables = [voi for voi in usable if isinstance(voi, LookupTable)]
    return [*windows, *tables[:1]]


def _is_eight_bit(instance: Instance) -> bool:
    """Whether stored values are display values: 8 bits, unsigned, no modality transformation."""
    header = instance.header
    plain = "ModalityLUTSequence" not in header and (decimal_number(header, "RescaleSlope") or 1) == 1
    pixels = pixel_description(header)
    return plain and pixels.bits_stored == 8 and not pixels.signed
