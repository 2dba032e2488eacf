"""Text from outside, as screens, logs and files can show it: file names are bytes, and may hold anything."""

from __future__ import annotations

import os
import unicodedata

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that are no printable text: controls, marks that turn the direction of writing, surrogates."""
_JOINERS = {"\u200c", "\u200d"}
"""Needed to write some names."""


def printable(text: str, *, keep: str = "") -> str:
    r"""The same text with all that can't be printed escaped: 'r\xf6ntgen.dcm', 'two\nlines'.

    Python keeps bytes of a file name that are not UTF-8 as lone surrogates (PEP 383), which no file in UTF-8, no
    terminal and no database takes; they are shown as the bytes that they are. `keep` names characters to leave.
    """
    return "".join(
        character if character in keep or _is_printable(character) else _escaped(character) for character in text
    )


def shown_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """A path for people."""
    return printable(os.fsdecode(path))


def _is_printable(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in _INVISIBLE


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
