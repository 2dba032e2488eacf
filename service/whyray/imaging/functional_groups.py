"""Attributes that a multi-frame instance gives per frame: PS3.3 section C.7.6.16."""

from __future__ import annotations

from pydicom import Dataset


def group_item(header: Dataset, frame_number: int, sequence: str) -> Dataset | None:
    """First item of a functional group for a frame (1-based): its own, else the shared one, else None."""
    items = group_items(header, frame_number, sequence)
    return items[0] if items else None


def holder_of(header: Dataset, frame_number: int, sequence: str, keyword: str) -> Dataset | None:
    """The data set that gives `keyword` for a frame: the functional group's item, else the instance's top level."""
    for candidate in (group_item(header, frame_number, sequence), header):
        if candidate is not None and candidate.get(keyword) not in (None, ""):
            return candidate
    return None


def group_items(header: Dataset, frame_number: int, sequence: str) -> list[Dataset]:
    """All items of a functional group for a frame (1-based): its own, else the shared ones; empty where none are."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for groups in (per_frame[frame_number - 1 : frame_number], shared[:1]):
        for group in groups:
            items = group.get(sequence)
            if items:
                return list(items)
    return []
