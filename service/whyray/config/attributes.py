"""DICOM attributes as a person names them in a condition: a keyword, a tag, or a path through sequences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from pydicom.datadict import DicomDictionary, dictionary_keyword, dictionary_VR, tag_for_keyword

from whyray.config.problems import nearest

_TAG = re.compile(r"\(([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})\)")
_PRIVATE = re.compile(r"\(([0-9A-Fa-f]{4}),([^,()\\]{1,64}),([0-9A-Fa-f]{2})\)")
_STEP = re.compile(r"\([^()]*\)|[^.()]+")
_WRITTEN_STEPS = re.compile(r"(?:\([^()]*\)|[^.()]+)(?:\.(?:\([^()]*\)|[^.()]+))*")

NUMBERS = frozenset({"DS", "IS", "FL", "FD", "SS", "US", "SL", "UL", "SV", "UV"})
DATES = frozenset({"DA", "TM", "DT"})
WITHOUT_TEXT = frozenset({"SQ", "OB", "OW", "OF", "OD", "OL", "OV", "AT"})


@dataclass(frozen=True)
class Attribute:
    """One data element of one data set.

    Attributes
    ----------
    tag
        Group and element; for a private element named by its creator the last two digits only.
    vr
        Value representations that PS3.6 gives it; 'UN' for private and unknown ones.
    creator
        The private creator whose block holds it, or None.
    """

    tag: int
    vr: str
    creator: str | None = None

    @property
    def numeric(self) -> bool:
        """Whether all its value representations are numbers."""
        return set(self.vr.split(" or ")) <= NUMBERS

    @property
    def has_text(self) -> bool:
        """Whether a value can be compared; sequences and binary values can only be present or absent."""
        return not set(self.vr.split(" or ")) & WITHOUT_TEXT


@dataclass(frozen=True)
class AttributePath:
    """An attribute, or one inside the items of sequences; `text` is how it was written."""

    text: str
    steps: tuple[Attribute, ...]

    @property
    def last(self) -> Attribute:
        """The attribute whose values count."""
        return self.steps[-1]


class UnknownAttribute(ValueError):  # noqa: N818 - named for what it is
    """No such attribute; `suggestion` says what was probably meant."""

    def __init__(self, message: str, suggestion: str | None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


@cache
def keywords() -> tuple[str, ...]:
    """All keywords of PS3.6 that pydicom knows, sorted."""
    return tuple(sorted({entry[4] for entry in DicomDictionary.values() if entry[4]}))


@cache
def parse_attribute(text: str) -> AttributePath:
    """`Modality`, `(0019,1010)`, `(0019,GEMS_ACQU_01,10)`, or a path such as `RequestAttributesSequence.StudyID`.

    Raises
    ------
    UnknownAttribute
        If a step is not in the dictionary, or a step before the last is not a sequence.
    """
    if not _WRITTEN_STEPS.fullmatch(text):
        raise UnknownAttribute("not a DICOM keyword", "write a keyword, (gggg,eeee) or Sequence.Keyword")
    steps = tuple(_parse_step(step) for step in _STEP.findall(text))
    for step, written in zip(steps[:-1], _STEP.findall(text), strict=False):
        if step.vr not in ("SQ", "UN"):
            raise UnknownAttribute(f"{written} is not a sequence (its VR is {step.vr})", None)
    return AttributePath(text, steps)


def _parse_step(text: str) -> Attribute:
    if private := _PRIVATE.fullmatch(text):
        group = int(private.group(1), 16)
        if group % 2 == 0:
            raise UnknownAttribute(f"group {private.group(1)} is even: not a private group", None)
        return Attribute(group << 16 | int(private.group(3), 16), "UN", private.group(2).strip())
    if written := _TAG.fullmatch(text):
        tag = int(written.group(1) + written.group(2), 16)
        return Attribute(tag, _dictionary_vr(tag))
    tag_found = tag_for_keyword(text)
    if tag_found is None:
        near = nearest(text, keywords())
        raise UnknownAttribute(
            "not a DICOM keyword", f"did you mean '{near}'?" if near else "write the keyword of PS3.6, or (gggg,eeee)"
        )
    return Attribute(int(tag_found), _dictionary_vr(int(tag_found)))


def _dictionary_vr(tag: int) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def keyword_of(attribute: Attribute) -> str:
    """The attribute's keyword, or an empty string for a private or unknown one."""
    try:
        return str(dictionary_keyword(attribute.tag)) if attribute.creator is None else ""
    except KeyError:
        return ""
