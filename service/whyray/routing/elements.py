"""Values of data elements as routing compares them: trimmed texts, never an exception.

A header comes from a stranger: any element may be malformed, in another value representation than the dictionary's, or
hold several values where one is allowed. What can't be read counts as present without text.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset
from pydicom.dataelem import DataElement

from whyray.config.attributes import Attribute, AttributePath

_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0xFF
_LONGEST_TEXT = 16384


@dataclass(frozen=True)
class Element:
    """One data element: its value representation, its non-empty values as texts, its items if it is a sequence.

    `present` says whether it has a value at all: a type 2 attribute of length zero has none.
    """

    vr: str
    texts: tuple[str, ...] = ()
    items: tuple[Dataset, ...] = ()
    present: bool = False


def find(datasets: tuple[Dataset, ...], path: AttributePath) -> tuple[Element, ...]:
    """All elements at the end of a path, through all items of the sequences on the way."""
    current = datasets
    for step in path.steps[:-1]:
        current = tuple(item for each in current for element in of_attribute(each, step) for item in element.items)
    return tuple(element for each in current for element in of_attribute(each, path.last))


def of_attribute(dataset: Dataset, attribute: Attribute) -> tuple[Element, ...]:
    """The element of an attribute, or of each private block of its creator; empty if there is none."""
    if attribute.creator is None:
        return elements(dataset, attribute.tag)
    group, last = attribute.tag >> 16, attribute.tag & 0xFF
    return tuple(
        element
        for block in range(_FIRST_BLOCK, _LAST_BLOCK + 1)
        if any(attribute.creator in found.texts for found in elements(dataset, group << 16 | block))
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
        element = holder[tag]
    except Exception:  # pydicom raises whatever its converters do on a malformed value
        return (Element("UN", present=True),)
    return (_read(element),)


def _read(element: DataElement) -> Element:
    vr = str(element.VR)
    try:
        value = element.value
        if vr == "SQ":
            items = tuple(item for item in value or () if isinstance(item, Dataset))
            return Element(vr, items=items, present=bool(items))
        if vr in ("OB", "OW", "OF", "OD", "OL", "OV"):
            return Element(vr, present=bool(value))
        several = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
        texts = tuple(text for each in several for text in _texts(each, vr) if text)
        return Element(vr, texts, present=bool(texts))
    except Exception:  # as above
        return Element(vr, present=True)


def _texts(value: object, vr: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, bytes):
        value = value[:_LONGEST_TEXT].decode("ascii", errors="replace")
        return tuple(trim(each) for each in value.split("\\"))
    text = trim(str(getattr(value, "original_string", None) or value)[:_LONGEST_TEXT])
    if vr == "PN":
        # Alphabetic, ideographic and phonetic group (PS3.5 section 6.2.1), each of which may be asked for alone.
        groups = tuple(trim(group).rstrip("^") for group in text.split("="))
        return groups if len(groups) == 1 else (text, *groups)
    return (text,)


def trim(text: str) -> str:
    """The text without padding: spaces (and the NUL that pads UIDs) at both ends have no meaning for routing."""
    return text.strip(" \0\r\n\t")
