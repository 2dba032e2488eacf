"""Values of data elements as routing compares them: trimmed texts, never an exception.

A header comes from a stranger: any element may be malformed, in another value representation than the dictionary's, or
hold several values where one is allowed. What can't be read says so (`Element.unread`): a condition that hangs on it is
neither true nor false.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement

from whyray.config import NUMBERS, Attribute, AttributePath
from whyray.routing.encoded_text import Reading, encodings_of, is_text, read_text, text_readings, vr_of

_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0xFF
_BINARY = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "OB or OW", "US or OW", "US or SS or OW"})
_BINARY_NUMBERS = NUMBERS - {"DS", "IS"}
_SIGN = 0x8000
_ITEM = {True: b"\xfe\xff\x00\xe0", False: b"\xff\xfe\xe0\x00"}


@dataclass(frozen=True)
class Element:
    """One data element: its value representation, its non-empty values as texts, its items if it is a sequence.

    Attributes
    ----------
    present
        Whether it has a value at all: a type 2 attribute of length zero has none.
    unread
        Whether it has a value, or a part of one, that can't be read: not in the character set that the data set
        declares, no number where the value representation is one, binary, or items that can't be parsed.
    """

    vr: str
    texts: tuple[str, ...] = ()
    items: tuple[Dataset, ...] = ()
    present: bool = False
    unread: bool = False


_UNREADABLE = Element("UN", present=True, unread=True)
_BEHIND_UNREADABLE = Element("UN", unread=True)
"""What lies below a sequence that can't be parsed: nobody knows whether it is there."""


def find(datasets: tuple[Dataset, ...], path: AttributePath) -> tuple[Element, ...]:
    """All elements at the end of a path, through all items of the sequences on the way."""
    current, hidden = datasets, False
    for step in path.steps[:-1]:
        elements_here = [element for dataset in current for element in of_attribute(dataset, step)]
        hidden = hidden or any(element.unread or (element.present and element.vr != "SQ") for element in elements_here)
        current = tuple(item for element in elements_here for item in element.items)
    ends = tuple(element for dataset in current for element in of_attribute(dataset, path.last))
    return (*ends, _BEHIND_UNREADABLE) if hidden else ends


def of_attribute(dataset: Dataset, attribute: Attribute) -> tuple[Element, ...]:
    """The element of an attribute, or of each private block of its creator; empty if there is none."""
    if attribute.creator is None:
        return elements(dataset, attribute.tag)
    group, last = attribute.tag >> 16, attribute.tag & 0xFF
    return tuple(
        element
        for block in range(_FIRST_BLOCK, _LAST_BLOCK + 1)
        if any(attribute.creator in creator.texts for creator in elements(dataset, group << 16 | block))
        for element in elements(dataset, group << 16 | block << 8 | last)
    )


def elements(dataset: Dataset, tag: int) -> tuple[Element, ...]:
    """The element with this tag as a tuple of one, or an empty one; group 0002 from the file meta information."""
    holder = getattr(dataset, "file_meta", None) if tag >> 16 == 2 else dataset
    if not isinstance(holder, Dataset):
        return ()
    try:
        if tag not in holder:
            return ()
        return (_read(holder, tag),)
    except Exception:  # pydicom raises whatever its converters do on a malformed value
        return (_UNREADABLE,)


def _read(holder: Dataset, tag: int) -> Element:
    raw = holder.get_item(tag)
    if not isinstance(raw, RawDataElement) or raw.value is None:
        return _of_value(holder[tag])
    vr = vr_of(raw, holder)
    if is_text(vr) or vr == "UN":
        return _of_text(read_text(raw.value, vr, encodings_of(holder, tag)))
    if vr == "US or SS" and "PixelRepresentation" not in holder and getattr(holder, "_pixel_rep", None) is None:
        return _of_sign_unknown(raw.value, little=raw.is_little_endian)
    if vr == "SQ" and raw.value and not raw.value.startswith(_ITEM[raw.is_little_endian]):
        return _UNREADABLE  # pydicom would make an item of whatever bytes there are
    return _of_value(holder[tag])


def _of_text(reading: Reading) -> Element:
    texts = tuple(text for text in reading.texts if text)
    return Element(reading.vr, texts, present=bool(texts) or reading.unread, unread=reading.unread)


def _of_value(element: DataElement) -> Element:
    vr, value = str(element.VR), element.value
    if vr == "SQ":
        items = tuple(item for item in value or () if isinstance(item, Dataset))
        return Element(vr, items=items, present=bool(items))
    if vr in _BINARY:
        return Element(vr, present=bool(value), unread=bool(value))
    if isinstance(value, bytes):
        return _of_text(read_text(value, "UN", None))
    several = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    filled = [single for single in several if single is not None and single != ""]
    known = [single for single in filled if not _wrong(single, vr)]
    texts = [text for single in known for text in text_readings(_written(single, vr), vr) if text]
    unread = len(known) < len(filled)
    return Element(vr, tuple(texts), present=bool(texts) or unread, unread=unread)


def _of_sign_unknown(value: bytes, *, little: bool) -> Element:
    """US or SS beside no Pixel Representation: below 8000H both say the same number, above nobody knows."""
    words = [word for (word,) in struct.iter_unpack("<H" if little else ">H", value[: len(value) // 2 * 2])]
    texts = tuple(str(word) for word in words if word < _SIGN)
    return Element("US or SS", texts, present=bool(value), unread=len(texts) * 2 < len(value))


def _wrong(value: object, vr: str) -> bool:
    """Whether pydicom gave something else than the value representation says: it tries others where one fails."""
    return isinstance(value, bytes) or (vr in _BINARY_NUMBERS and not isinstance(value, int | float))


def _written(value: object, vr: str) -> str:
    """A value as text: decimal and integer strings as they were written, 32-bit floats in the fewest digits."""
    if vr == "PN":
        return str(value)
    if vr == "FL" and isinstance(value, float):
        import numpy as np

        return str(np.float32(value))  # 0.1, which as a 64-bit float is 0.10000000149
    original = getattr(value, "original_string", None)
    return original if isinstance(original, str) else str(value)
