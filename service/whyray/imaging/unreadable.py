"""Attributes that can't be read at all: taken out of a header, so that no reader further on falls over one of them."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag

from whyray.imaging.attributes import PIXEL_GROUP, tag_name
from whyray.imaging.notes import Note, NoteKind

_TEXT = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)


def pass_over_unreadable(header: Dataset) -> tuple[Note, ...]:
    """Take out what can't be read as its value representation, at any depth; one note for each attribute.

    For a header whose pixels and geometry have been read: whatever those need has been read or refused by then. Private
    attributes stay as they are, since nothing reads them. An attribute counts as unreadable, too, where a sequence
    stands for a value, a value for a sequence, or bytes for text (PS3.6 chapter 6 says which it has to be).
    """
    notes = []
    left = [("", header)]
    while left:  # no recursion: sequences may be nested deeper than the stack allows
        path, holder = left.pop()
        for tag in sorted(holder.keys()):
            if tag.is_private or tag.group >= PIXEL_GROUP:
                continue
            try:
                element = holder[tag]
                items = list(element.value or ()) if element.VR == "SQ" else []
                usable = not _is_of_another_kind(element)
            except Exception:  # whatever a value makes the library raise
                items, usable = [], False
            if usable:
                place = f"{path}{tag_name(tag)} item "
                left += [(f"{place}{number}, ", item) for number, item in enumerate(items, start=1)]
                continue
            notes.append(Note(NoteKind.ATTRIBUTE_IGNORED, f"{path}{tag_name(tag)}: {_found(tag, holder)}; passed over"))
            del holder[tag]
    return tuple(dict.fromkeys(notes))


def _is_of_another_kind(element: DataElement) -> bool:
    try:
        own = dictionary_VR(element.tag)
    except KeyError:
        return False
    return (element.VR == "SQ") != (own == "SQ") or (own in _TEXT and isinstance(element.value, bytes))


def _found(tag: BaseTag, holder: Dataset) -> str:
    """What stands there in place of a value, without quoting it: it may be the patient's."""
    element = holder.get_item(tag)
    value = getattr(element, "value", None)
    length = f"{len(value)} bytes" if isinstance(value, bytes) else "a value"
    return f"found {length} of type {getattr(element, 'VR', None) or 'unknown'}, which can't be read as its value"
