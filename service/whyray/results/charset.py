"""Which Specific Character Set a result is written in: the source's own wherever it holds all of the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.multival import MultiValue

_TEXT = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})
_ISO_2022_DELIMITERS = {"\r", "\n", "\t", "\f", "^", "=", "\\"}
UNICODE = "ISO_IR 192"


def set_character_set(made: Dataset, source: Dataset) -> None:
    """Set Specific Character Set (0008,0005) so that every text of `made` is written rightly.

    The source's character set is kept where it can carry all texts. A source that declares none but uses more than
    ASCII is kept as it is, byte for byte, unless WhyRay's own words need more; everything else is written as UTF-8.
    """
    declared = source.get("SpecificCharacterSet")
    texts = {text for text in _texts(made) if not text.isascii()}
    if not declared or declared == "ISO_IR 6":
        texts -= {text for text in _texts(source) if not text.isascii()}
        made.pop("SpecificCharacterSet", None)
        if texts:
            made.SpecificCharacterSet = UNICODE
        elif declared:
            made.SpecificCharacterSet = declared
        return
    sets = [str(each) for each in declared] if isinstance(declared, (list, MultiValue)) else [str(declared)]
    made.SpecificCharacterSet = (sets if len(sets) > 1 else sets[0]) if _carries(sets, texts) else UNICODE


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
    for element in dataset:
        if element.VR == "SQ":
            for each in element.value:
                yield from _texts(each)
        elif element.VR in _TEXT and not element.is_empty:
            values = element.value if element.VM > 1 else [element.value]
            yield from (str(each) for each in values)
