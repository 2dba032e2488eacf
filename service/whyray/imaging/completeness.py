"""Slices of a series that lack the rescale which others of the series have: PS3.3 sections C.8.2.1.1 and C.11.1."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.uid import CTImageStorage, PositronEmissionTomographyImageStorage

from whyray.base.errors import ImageError
from whyray.imaging.acquisition import RESCALE, Attribute, number_in
from whyray.imaging.attributes import attribute_name
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.photometry import MONOCHROME
from whyray.imaging.stack import Member, named

IDENTITY = {"Rescale Slope": 1.0, "Rescale Intercept": 0.0}
MOST_WITHOUT = 0.5
"""Where more than this share of slices lacks an attribute, none of the series can be trusted."""

_ADVICE = "Send the series again from where it was made; a copy has lost the attribute."


def set_apart_without_rescale(members: Sequence[Member]) -> tuple[list[Member], list[tuple[list[Member], ImageError]]]:
    """Slices of one series whose values can be compared, and those whose values can't, with the reason.

    A slice without the rescale that its neighbours have would be off by their intercept (1024 HU in most CT), and
    nothing in it says so. It is left out alone, since the others are whole; where most slices have none, all are
    refused, since it can't be told which are as they were made; so is PET where all have none, since its slices have a
    slope each. Slices with a Modality LUT need no rescale. Outside CT and PET, where it is type 1, a rescale that
    changes nothing may be absent.
    """
    kept = list(members)
    refused: list[tuple[list[Member], ImageError]] = []
    for attribute in RESCALE:
        without = [member for member in kept if _lacks(member, attribute)]
        if not without or _none_needs_it(kept, without) or _may_be_absent(kept, attribute):
            continue
        error = ImageError(
            f"series {kept[0].instance.series}: expected {attribute_name(attribute.keyword)} in all slices or in none, "
            f"found {len(without)} of {len(kept)} slices without: {named(without)}",
            advice=_ADVICE,
        )
        if len(without) > MOST_WITHOUT * len(kept):
            return [], [*refused, (kept, error)]
        refused.append((without, error))
        kept = [member for member in kept if not _lacks(member, attribute)]
    return kept, refused


def _none_needs_it(members: Sequence[Member], without: Sequence[Member]) -> bool:
    is_pet = members[0].instance.sop_class == PositronEmissionTomographyImageStorage
    return len(without) == len(members) and not is_pet


def rescale_note(members: Sequence[Member]) -> tuple[Note, ...]:
    """A note where a CT does not say what its stored values are: type 1 of the CT Image module."""
    if str(members[0].instance.sop_class) != CTImageStorage:
        return ()
    missing = [attribute_name(attribute.keyword) for attribute in RESCALE if _lacks(members[0], attribute)]
    if not missing:
        return ()
    words = f"no {' and no '.join(missing)}: stored values were taken for Hounsfield units"
    return (Note(NoteKind.ATTRIBUTE_IGNORED, words),)


def _lacks(member: Member, attribute: Attribute) -> bool:
    header = member.instance.header
    if str(header.get("PhotometricInterpretation") or "").strip() not in MONOCHROME:
        return False
    return not header.get("ModalityLUTSequence") and attribute.name not in member.written


def _may_be_absent(members: Sequence[Member], attribute: Attribute) -> bool:
    given = {number_in(value) for member in members for value in member.written.get(attribute.name, ())}
    return given == {IDENTITY[attribute.name]} and not any(
        member.instance.modality in ("CT", "PT") for member in members
    )
