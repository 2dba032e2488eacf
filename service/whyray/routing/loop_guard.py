"""Whether an object is one of WhyRay's own results: those are stored and never routed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydicom import Dataset

from whyray.base.identity import EQUIPMENT_MANUFACTURER, EQUIPMENT_MODEL
from whyray.routing.elements import elements

_SOP_INSTANCE_UID = 0x00080018
_MANUFACTURER = 0x00080070
_MODEL = 0x00081090
_CONTRIBUTING_EQUIPMENT = 0x0018A001


def is_own_result(header: Dataset, uid_root: str | None, known: Callable[[str], bool]) -> str | None:
    """Why this object is one of WhyRay's own results; None if it is not.

    Parameters
    ----------
    header
        Attributes of the object.
    uid_root
        The configured root of the UIDs of results, None where they are UUID-derived (2.25 is everybody's).
    known
        Whether the catalog has a result with this SOP Instance UID.
    """
    uid = next(iter(_texts(header, _SOP_INSTANCE_UID)), "")
    if uid and known(uid):
        return f"the catalog has {uid} as a result of WhyRay"
    if uid and uid_root and uid.startswith(f"{uid_root}."):
        return f"its UID {uid} is under WhyRay's root {uid_root}"
    for item in (header, *_items(header)):
        if any(_ours(text) for tag in (_MANUFACTURER, _MODEL) for text in _texts(item, tag)):
            where = "as its equipment" if item is header else "as contributing equipment"
            return f"it names WhyRay {where}"
    return None


def _ours(name: str) -> bool:
    words = name.casefold().split()
    return bool(words) and words[0] in (EQUIPMENT_MANUFACTURER.casefold(), EQUIPMENT_MODEL.casefold())


def _items(header: Dataset) -> Iterable[Dataset]:
    return [item for element in elements(header, _CONTRIBUTING_EQUIPMENT) for item in element.items]


def _texts(dataset: Dataset, tag: int) -> list[str]:
    return [text for element in elements(dataset, tag) for text in element.texts]
