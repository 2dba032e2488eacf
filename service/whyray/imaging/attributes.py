"""Attributes of a data set that can't be trusted: read without raising what a library raises, and named in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.datadict import dictionary_description, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

from whyray.base.errors import ImageError

PATIENT_GROUP = 0x0010
PIXEL_GROUP = 0x7FE0
UNREADABLE = "?"
"""In place of a value whose type is unknown."""
LONGEST = 48
"""Characters of a value that a message quotes."""


def attribute_name(keyword: str) -> str:
    """Name and tag as the standard writes them: 'Bits Stored (0028,0101)'."""
    return tag_name(Tag(keyword))


def written_value(header: Dataset, keyword: str) -> str:
    """What stands in an attribute, for a message: 'none' where absent, 'nothing' where empty, else the value in quotes.

    Values of group 0010 (the patient's) are never given.
    """
    tag = Tag(keyword)
    if tag not in header:
        return "none"
    return _quoted(tag, header)


def written_texts(header: Dataset, keyword: str) -> list[str]:
    """Values of an attribute as stripped texts, as they stand in it; one empty text where it is absent or empty."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in header:
        return [""]
    try:
        value = header[tag].value
    except Exception:  # whatever a value makes pydicom raise
        if _representation(BaseTag(tag), header) not in ("DS", "IS"):
            return [UNREADABLE]
        return [part.strip(" \0\t\r\n") for part in _raw_text(tag, header).split("\\")]
    if value is None:
        return [""]
    if isinstance(value, bytes):
        return [value.decode("latin-1").strip(" \0")]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(part).strip(" \0") for part in value] or [""]
    return [str(value).strip(" \0")]


def whole_number(header: Dataset, keyword: str) -> int | None:
    """An attribute as one whole number; None where absent or empty.

    Raises ImageError, naming attribute and value, for anything else.
    """
    texts = written_texts(header, keyword)
    if not any(texts):
        return None
    number = _number(texts[0]) if len(texts) == 1 else None
    if number is None or number != int(number):
        raise ImageError(
            f"instance {_uid(header)}: expected one whole number in {attribute_name(keyword)}, "
            f"found {written_value(header, keyword)}"
        )
    return int(number)


def decimal_numbers(header: Dataset, keyword: str) -> tuple[float | None, ...]:
    """The values of an attribute as numbers, None in place of one that is no finite number; empty where absent."""
    texts = written_texts(header, keyword)
    return tuple(_number(value) for value in texts) if any(texts) else ()


def decimal_number(header: Dataset, keyword: str) -> float | None:
    """An attribute as one number; None where absent or empty.

    Raises ImageError, naming attribute and value, where it is not exactly one finite number.
    """
    values = decimal_numbers(header, keyword)
    if not values:
        return None
    if len(values) != 1 or values[0] is None:
        raise ImageError(
            f"instance {_uid(header)}: expected one number in {attribute_name(keyword)}, "
            f"found {written_value(header, keyword)}"
        )
    return values[0]


def unreadable_attribute(header: Dataset) -> str | None:
    """Name and value of the first attribute whose value can't be read as its type, for a message; None if all can."""
    for path, tag, holder in _unreadable(header, ""):
        return f"{path}{tag_name(tag)}, found {_quoted(tag, holder)} of type {_representation(tag, holder)}"
    return None


def _unreadable(holder: Dataset, path: str) -> Iterator[tuple[str, BaseTag, Dataset]]:
    for tag in sorted(holder.keys()):
        if tag.group >= PIXEL_GROUP:
            return
        try:
            element = holder[tag]
            items = list(element.value or []) if element.VR == "SQ" else []
        except Exception:  # whatever a value makes pydicom raise
            yield path, tag, holder
            continue
        for number, item in enumerate(items, start=1):
            yield from _unreadable(item, f"{path}{tag_name(tag)} item {number}, ")
        if _is_of_another_type(tag, str(element.VR)):
            yield path, tag, holder


def _is_of_another_type(tag: BaseTag, representation: str) -> bool:
    """Whether text or bytes stand where the dictionary has numbers, or the other way round."""
    if tag.is_private or (tag.group != 0x0028 and tag.group != 0x0020):
        return False
    try:
        own = dictionary_VR(tag)
    except KeyError:
        return False
    numbers = {"US", "SS", "UL", "SL", "FL", "FD", "IS", "DS"}
    return own in numbers and representation not in numbers


def _representation(tag: BaseTag, holder: Dataset) -> str:
    element = holder.get_item(tag)
    return str(getattr(element, "VR", None) or "unknown")


def _number(value: str) -> float | None:
    # Python takes what DS and IS (PS3.5 table 6.2-1) don't allow: 1_000, infinity, nan.
    if not value or set(value) - set("0123456789+-.eE"):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _quoted(tag: int, holder: Dataset) -> str:
    if BaseTag(tag).group == PATIENT_GROUP:
        return "a value"
    try:
        value = str(holder[tag].value if holder[tag].value is not None else "")
    except Exception:  # whatever a value makes pydicom raise
        value = _raw_text(tag, holder)
    value = " ".join("".join(sign if sign.isprintable() else " " for sign in value).split())
    if not value:
        return "nothing"
    return f"'{value[:LONGEST]}…'" if len(value) > LONGEST else f"'{value}'"


def _raw_text(tag: int, holder: Dataset) -> str:
    element = holder.get_item(tag)
    value = element.value if isinstance(element, RawDataElement) else getattr(element, "value", "")
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")


def tag_name(tag: BaseTag) -> str:
    """Name and number of any attribute: 'Bits Stored (0028,0101)', 'attribute (0011,1001)'."""
    number = f"({tag.group:04X},{tag.element:04X})"
    if tag.is_private or not keyword_for_tag(tag):
        return f"attribute {number}"
    return f"{dictionary_description(tag)} {number}"


def _uid(header: Dataset) -> str:
    return str(header.get("SOPInstanceUID") or "without SOP Instance UID")
