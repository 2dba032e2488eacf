"""Which Specific Character Set a result is written in: the source's own wherever it holds all of the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue

from whyray.imaging import quiet
from whyray.results.elements import SharedElement

_TEXT = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
_ISO_2022_DELIMITERS = {"\r", "\n", "\t", "\f", "^", "=", "\\"}
UNICODE = "ISO_IR 192"


@quiet()
def set_character_set(made: Dataset, source: Dataset) -> None:
    """Set Specific Character Set (0008,0005) so that every text of `made` is written rightly.

    The source's character set is kept where it can carry all texts. A source that declares none but uses more than
    ASCII is kept as it is, byte for byte, unless WhyRay's own words need more; everything else is written as UTF-8.
    """
    declared = _declared(source)
    texts = {text for text in _texts(made) if not text.isascii()}
    if declared in ([], ["ISO_IR 6"]):
        texts -= {text for text in _texts(source) if not text.isascii()}
        made.pop("SpecificCharacterSet", None)
        if texts:
            made.SpecificCharacterSet = UNICODE
        elif declared:
            made.SpecificCharacterSet = declared[0]
        return
    kept = _carries(declared, texts)
    made.SpecificCharacterSet = (declared if len(declared) > 1 else declared[0]) if kept else UNICODE


def holds(source: Dataset, text: str) -> bool:
    """Whether the character set that the source declares has these characters; one that declares none has ASCII."""
    declared = _declared(source)
    if declared in ([], ["ISO_IR 6"]):
        return text.isascii()
    return _carries(declared, {text})


def _declared(source: Dataset) -> list[str]:
    """The source's character sets by the terms of PS3.3 C.12.1.1.2; none where one of them is not known.

    Readers know 'ISO-IR 100' and its like for what is meant, so that their texts have been read rightly.
    """
    written = source.get("SpecificCharacterSet")
    terms = [str(term).strip() for term in written] if isinstance(written, (list, MultiValue)) else [str(written or "")]
    meant = [re.sub(r"^ISO[^\w]IR[^\d](\d+)$|^ISO_IR[^\d ](\d+)$", r"ISO_IR \1\2", term) for term in terms]
    return meant if any(meant) and all(term in python_encoding for term in meant) else []


def _carries(sets: Sequence[str], texts: set[str]) -> bool:
    try:
        encodings = convert_encodings(list(sets))
        return all(
            decode_bytes(encode_string(part, encodings), encodings, _ISO_2022_DELIMITERS) == part
            for text in texts
            for part in _parts(text)
            if _encodable(part, encodings)
        ) and all(_encodable(part, encodings) for text in texts for part in _parts(text))
    except (LookupError, ValueError):
        return False


def _parts(text: str) -> list[str]:
    """The components that names are encoded by, one at a time."""
    return [part for group in text.split("=") for part in group.split("^")]


def _encodable(text: str, encodings: Sequence[str]) -> bool:
    return all(any(_holds(character, encoding) for encoding in encodings) for character in text)


def _holds(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _texts(dataset: Dataset) -> Iterator[str]:
    """All texts of a data set, at any depth; of private attributes and of those that can't be read, none."""
    left, shared = [dataset], set()
    while left:  # no recursion: sequences may be nested deeper than the stack allows
        holder = left.pop()
        for tag, written in list(holder._dict.items()):
            if tag.is_private:
                continue
            element = written
            if isinstance(element, SharedElement):
                if id(element) in shared:
                    continue
                shared.add(id(element))
            elif not isinstance(element, DataElement):
                try:
                    element = holder[tag]
                except Exception:  # nosec B112  # whatever a value raises: it has nothing to do with a result's texts
                    continue
            if element.VR == "SQ":
                left += list(element.value or ())
            elif element.VR in _TEXT:
                value = element.value
                if type(value) is str:
                    yield value
                elif not element.is_empty:
                    yield from (str(part) for part in (value if element.VM > 1 else [value]))
