"""Names of persons (PS3.5 section 6.2.1), compared where they are written in the same script."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

_SEPARATORS = re.compile(r"[\^\s,]+")
_SCRIPTS = {"HIRAGANA": "KANA", "KATAKANA": "KANA", "KATAKANA-HIRAGANA": "KANA", "IDEOGRAPHIC": "CJK"}
"""By the first word of a character's name in Unicode, which else names its script itself."""
_NONE = "none"
_TO_HIRAGANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}
_SPELT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "æ": "ae", "ø": "oe", "œ": "oe", "ß": "ss"})
_BARE = str.maketrans({"æ": "a", "ø": "o", "œ": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i"})


@dataclass(frozen=True)
class PersonName:
    """A name as it is compared: without case, padding, and the order and separators of its components.

    Its groups (alphabetic, ideographic, phonetic) are texts in scripts. Some senders write ideographs or kana into the
    first group, and leave out others: texts of one script are compared, wherever they stand, and those in the same
    place strictly. Kana are one script; letters with diacritical marks equal those without, and their usual spelling:
    Müller is Muller, and is Mueller, while these two differ, as no mark says that they are one.
    """

    groups: tuple[str, ...]

    @classmethod
    def of(cls, value: str) -> PersonName | None:
        """The name that a value of PN states; None where it states none."""
        groups = tuple(_plain(group) for group in value.split("="))
        return cls(groups) if any(groups) else None

    def compared_with(self, other: PersonName) -> bool | None:
        """Whether the other may be the same person's; None where no script is common to both, which no one can tell."""
        ours, theirs = self._by_script(), other._by_script()
        common = ours.keys() & theirs.keys()
        if not common:
            # what has no letters is no transliteration of anything
            return False if _NONE in ours.keys() | theirs.keys() else None
        return all(_agree(ours[script], theirs[script]) for script in common)

    def _by_script(self) -> dict[str, dict[int, str]]:
        """{script: {number of a group: its text}}; a text of two scripts is under both."""
        found: dict[str, dict[int, str]] = {}
        for number, text in enumerate(self.groups):
            for script in _scripts(text) if text else ():
                found.setdefault(script, {})[number] = text
        return found


def _agree(ours: dict[int, str], theirs: dict[int, str]) -> bool:
    same_place = ours.keys() & theirs.keys()
    if same_place:
        return all(_same(ours[number], theirs[number]) for number in same_place)
    return any(_same(one, another) for one in ours.values() for another in theirs.values())


def _same(one: str, other: str) -> bool:
    return one == other or not _spellings(one).isdisjoint(_spellings(other))


def _plain(group: str) -> str:
    text = unicodedata.normalize("NFKC", group).casefold().translate(_TO_HIRAGANA)
    return " ".join(sorted(filter(None, _SEPARATORS.split(text))))


@cache
def _scripts(text: str) -> frozenset[str]:
    words = {unicodedata.name(letter, _NONE).partition(" ")[0] for letter in text if letter.isalpha()}
    return frozenset(_SCRIPTS.get(word, word) for word in words) or frozenset((_NONE,))


@cache
def _spellings(text: str) -> frozenset[str]:
    """As it is, without diacritical marks, and with such as are spelt by two letters spelt so."""
    return frozenset((text, _ordered(_unmarked(text.translate(_BARE))), _ordered(_unmarked(text.translate(_SPELT)))))


def _unmarked(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    # in kana and other scripts such a mark makes another letter
    kept = [
        mark
        for before, mark in zip(" " + decomposed, decomposed, strict=False)
        if not (unicodedata.combining(mark) and unicodedata.name(before, "").startswith("LATIN"))
    ]
    return unicodedata.normalize("NFC", "".join(kept))


def _ordered(text: str) -> str:
    return " ".join(sorted(text.split(" ")))
