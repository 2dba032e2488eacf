"""Text values of data elements as they lie in a file, decoded by their data set's character set (PS3.5 section 6.1).

They are decoded here and not by pydicom's converters, since those hide what could not be decoded: a byte that the
character set does not have becomes a replacement character, and a missing character set becomes Latin-1.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.charset import decode_bytes, default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.hooks import raw_element_vr

_LONGEST_TEXT = 1 << 20
_ESCAPE = b"\x1b"
_LEFT_BY_THE_DECODER = "\x1b$)A"  # ISO 2022 IR 58: Python's codec passes the escape sequence through
_UNDECODED = "\ufffd"
_SPECIFIC_CHARACTER_SET = 0x00080005
# PS3.5 section 6.2: value representations whose characters the Specific Character Set replaces or extends, the others
# of text, and those in which a backslash is a character and no delimiter.
_OF_CHARACTER_SET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_OF_DEFAULT_REPERTOIRE = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
_SINGLE_VALUED = frozenset({"LT", "ST", "UT", "UR"})
# PS3.5 section 6.1.2.5.3: what ends the effect of an escape sequence, besides the delimiters of the value itself.
_LINE_ENDS = frozenset(b"\r\n\t\f")
_DELIMITERS = _LINE_ENDS | set(b"\\")
_NAME_DELIMITERS = _DELIMITERS | set(b"^=")
_PLAIN = re.compile(rb"[ -\[\]-}]*")
"""Bytes that say the same in all character sets of PS3.3 section C.12.1.1.2: all of ASCII but backslash and tilde."""
_LAYOUT = "\r\n\t\f"


@dataclass(frozen=True)
class Reading:
    """What a value says; `unread` if a part of it can't be told."""

    vr: str
    texts: tuple[str, ...] = ()
    unread: bool = False


def is_text(vr: str) -> bool:
    """Whether values of this value representation are written as characters."""
    return vr in _OF_CHARACTER_SET or vr in _OF_DEFAULT_REPERTOIRE


def vr_of(raw: RawDataElement, dataset: Dataset) -> str:
    """The value representation of an element: as the file says, else, or where it says UN, as the dictionary does."""
    if raw.VR is not None and raw.VR != "UN" and is_text(raw.VR):
        return str(raw.VR)
    resolved: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw_element_vr(raw, resolved, ds=dataset)
    return str(resolved["VR"])


def encodings_of(dataset: Dataset, tag: int) -> list[str] | None:
    """Python's names of the character sets that hold for this element; None for the default repertoire alone."""
    known = dataset.original_character_set
    if tag == _SPECIFIC_CHARACTER_SET or not known:
        return None
    return [known] if isinstance(known, str) else list(known)


def read_text(value: bytes, vr: str, encodings: Sequence[str] | None) -> Reading:
    """The texts of an encoded value.

    Parameters
    ----------
    encodings
        Python's names of the character sets that the data set declares; None for the default repertoire alone.
    """
    if len(value) > _LONGEST_TEXT:
        return Reading(vr, unread=True)
    whole, unread = _decoded(value, vr, encodings or [default_encoding])
    texts: list[str] = []
    for text in dict.fromkeys(whole):
        for single in [text] if vr in _SINGLE_VALUED else text.split("\\"):
            if vr == "UN" and not _printable(trim(single)):
                unread = True
            else:
                texts += text_readings(single, vr)
    return Reading(vr, tuple(texts), unread)


def _decoded(value: bytes, vr: str, encodings: Sequence[str]) -> tuple[list[str], bool]:
    """The texts that a whole value may stand for, and whether some of it stands for none."""
    if _PLAIN.fullmatch(value):
        return [value.decode("ascii")], False
    delimiters = _NAME_DELIMITERS if vr == "PN" else _LINE_ENDS if vr in _SINGLE_VALUED else _DELIMITERS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = decode_bytes(value, encodings, set(delimiters)).replace(_LEFT_BY_THE_DECODER, "")
    if value.isascii() or _ESCAPE in value or encodings[0] != default_encoding:
        return [text], _UNDECODED in text or _ESCAPE.decode() in text
    # No character set is declared for these bytes, or one that nobody knows. Devices that forget it write Latin-1 or
    # UTF-8, and both are tried; bytes that are valid UTF-8 are hardly ever anything else.
    try:
        return [value.decode("utf-8"), text], False
    except UnicodeDecodeError:
        return [text], False


def text_readings(text: str, vr: str) -> tuple[str, ...]:
    """One value, trimmed; of a name also each of its component groups, so that each may be asked for alone."""
    text = unicodedata.normalize("NFC", trim(text))
    if vr != "PN":
        return (text,)
    groups = name_groups(text)
    return groups if len(groups) == 1 else ("=".join(groups), *groups)


def name_groups(text: str) -> tuple[str, ...]:
    """Alphabetic, ideographic and phonetic group of a name, without null components at their ends (PS3.5 6.2.1)."""
    groups = [trim(group).rstrip("^ ") for group in text.split("=")]
    while len(groups) > 1 and not groups[-1]:
        groups.pop()
    return tuple(groups)


def trim(text: str) -> str:
    """The text without padding: spaces (and the NUL that pads UIDs) at both ends have no meaning for routing."""
    return text.strip(" \0\r\n\t")


def _printable(text: str) -> bool:
    return all(letter.isprintable() or letter in _LAYOUT for letter in text)
