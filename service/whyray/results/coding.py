"""Coded concepts as items of a data set (PS3.3 section 8.8), and names made fit for codes.

Here alone a concept of ours becomes one of highdicom's, which is an item of a code sequence.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import highdicom

from whyray.base.coded_concept import CodedConcept
from whyray.packages import TargetSpec
from whyray.results.elements import SharedElement, shared_items

LONGEST_VALUE = 16
LONGEST_TEXT = 64
LONGEST_SHORT_TEXT = 1024


def item(concept: CodedConcept) -> highdicom.sr.CodedConcept:
    """The item of a code sequence: long and URN code values in the attributes that the standard has for them."""
    return highdicom.sr.CodedConcept(concept.value, concept.scheme, one_value(concept.meaning))


@lru_cache(maxsize=4096)
def shared_code(keyword: str, concept: CodedConcept) -> SharedElement:
    """A code sequence with the item of a concept, the same whenever both are: a report holds hundreds of some."""
    return shared_items(keyword, [item(concept)])


def one_value(text: str, longest: int = LONGEST_TEXT) -> str:
    """Text fit for one value of LO or ST: a backslash would begin a second one, control characters are forbidden."""
    plain = "".join(" " if ord(character) < 32 else character for character in text.replace("\\", "/"))
    return plain[:longest].rstrip()


def dcm(value: str, meaning: str) -> CodedConcept:
    """A code of the DICOM controlled terminology, PS3.16 annex D."""
    return CodedConcept(value=value, scheme="DCM", meaning=meaning)


def ucum(value: str, meaning: str) -> CodedConcept:
    """A unit."""
    return CodedConcept(value=value, scheme="UCUM", meaning=meaning)


@lru_cache(maxsize=1024)
def own(name: str, designator: str) -> CodedConcept:
    """A private code for something that has only a name; equal names give equal codes."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not slug or len(slug) > LONGEST_VALUE or not name.isascii():
        slug = "x-" + hashlib.sha256(name.encode()).hexdigest()[: LONGEST_VALUE - 2]
    return CodedConcept(value=slug, scheme=designator, meaning=one_value(name))


def of_target(target: TargetSpec, designator: str) -> CodedConcept:
    """The code that a package names for a target, or a private one made from its name."""
    return target.code or own(target.name, designator)


NO_UNITS = ucum("1", "no units")
PERCENT = ucum("%", "Percent")
SOURCE = CodedConcept(value="260753009", scheme="SCT", meaning="Source")
"""The name of a reference whose purpose the template leaves open (PS3.3 C.17.3, note on the Concept Name)."""
