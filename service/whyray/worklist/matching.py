"""Search keys of UPS-RS (PS3.18 sections 8.3.4 and 11.9): `ProcedureStepState=SCHEDULED&PatientID=…`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import zip_longest

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.multival import MultiValue

from whyray.base.errors import WorkitemInvalid

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_NO_KEYS = ("includefield", "limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_MOST_DIGITS = 9
_DATES = ("DA", "DT", "TM")
MOST = 100
"""Workitems of one answer, where the request names no smaller limit."""


@dataclass(frozen=True)
class Key:
    """One search key: the path of tags to the attribute, and the value wanted."""

    path: tuple[int, ...]
    value: str

    def matches(self, workitem: Dataset) -> bool:
        """Whether any value at the path is the one wanted; an empty key matches everything (PS3.4 C.2.2.2.3)."""
        return not self.value or any(_is(value, self.value, self.path[-1]) for value in _values(workitem, self.path))


@dataclass(frozen=True)
class Search:
    """What is searched for, and which part of the answer is wanted."""

    keys: tuple[Key, ...]
    limit: int
    offset: int

    @property
    def states(self) -> tuple[str, ...]:
        """Procedure Step States that can match; empty for all."""
        state = tag_for_keyword("ProcedureStepState")
        return tuple(key.value for key in self.keys if key.path == (state,) and key.value)

    def among(self, workitems: Iterable[Dataset]) -> list[Dataset]:
        """Those that match, one more than wanted where there are more."""
        matching = [workitem for workitem in workitems if all(key.matches(workitem) for key in self.keys)]
        return matching[self.offset : self.offset + self.limit + 1]


def parse_search(parameters: Sequence[tuple[str, str]]) -> Search:
    """The search that query parameters ask for.

    Raises
    ------
    WorkitemInvalid
        If a key is no attribute, or limit or offset no number.
    """
    keys = [Key(_path(name), value) for name, value in parameters if name.lower() not in _NO_KEYS]
    numbers = {name: _number(name, value) for name, value in parameters if name in ("limit", "offset")}
    return Search(tuple(keys), min(numbers.get("limit", MOST), MOST), numbers.get("offset", 0))


def _number(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > _MOST_DIGITS:
        raise WorkitemInvalid(f"{name} is no number, or too large a one")
    return int(value)


def _path(name: str) -> tuple[int, ...]:
    tags = []
    for step in name.split("."):
        tag = int(step, 16) if _TAG.fullmatch(step) else tag_for_keyword(step)
        if tag is None:
            raise WorkitemInvalid("a search key is neither a DICOM keyword nor a tag of 8 digits")
        tags.append(tag)
    return tuple(tags)


def _values(item: Dataset, path: Sequence[int]) -> list[str]:
    if path[0] not in item:
        return []
    element = item[path[0]]
    value = element.value
    if len(path) > 1:
        return [] if element.VR != "SQ" else [text for below in value or [] for text in _values(below, path[1:])]
    values = value if isinstance(value, MultiValue | list) else [value]
    return [str(value) for value in values if value is not None]


def _is(value: str, wanted: str, tag: int) -> bool:
    vr = _vr(tag)
    if vr in _DATES and "-" in wanted[1:] + wanted[:1]:
        first, _, last = wanted.partition("-")
        return (not first or value[: len(first)] >= first) and (not last or value[: len(last)] <= last)
    if vr == "UI":
        return value in re.split(r"[,\\]", wanted)
    if vr == "PN":
        return _is_named(value.casefold(), wanted.casefold().replace("[", "[[]"))
    return fnmatchcase(value, wanted.replace("[", "[[]"))


def _is_named(name: str, wanted: str) -> bool:
    """By any of the name's component groups (PS3.5 section 6.2.1.1), or by those that are asked for each."""
    groups = name.split("=")
    if "=" not in wanted:
        return any(fnmatchcase(group, wanted) for group in groups)
    asked = zip_longest(groups, wanted.split("="), fillvalue="")
    return all(not one or fnmatchcase(group, one) for group, one in asked)


def _vr(tag: int) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "LO"
