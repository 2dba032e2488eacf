"""Elements and items of data sets made as they are, for what reports hold by the hundred.

pydicom 3 looks up a keyword, validates and converts a value whenever an element is made, and sets the fifteen
attributes of a `Dataset` one by one through its search for keywords: 7 µs an element, 18 an item. What is said here is
valid as it stands: codes of templates, texts and numbers that were made fit before.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NoReturn

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag, Tag

_OF_AN_EMPTY_ITEM = vars(Dataset())


class SharedElement(DataElement):  # type: ignore[misc]  # pydicom has no types here
    """An element that stands in many items. It stays as it is: whoever sets anything of it gets a TypeError."""

    def __init__(self, tag: BaseTag, vr: str, value: Any) -> None:
        super().__init__(tag, vr, value, already_converted=True)
        self.is_made = True

    def __setattr__(self, name: str, value: Any) -> None:
        if "is_made" in self.__dict__:
            raise TypeError(f"{self.tag} stands in several items: put another element in its place")
        super().__setattr__(name, value)


class _SharedItem(Dataset):  # type: ignore[misc]  # pydicom has no types here
    """An item of a shared element, which stays as it is too."""

    def __setitem__(self, key: Any, _: Any) -> None:
        _refuse_to_change(key)

    def __delitem__(self, key: Any) -> None:
        _refuse_to_change(key)

    def __delattr__(self, name: str) -> None:
        _refuse_to_change(name)

    def clear(self) -> None:
        """Refused."""
        _refuse_to_change("clear")

    def pop(self, key: Any, *_: Any) -> NoReturn:
        """Refused."""
        _refuse_to_change(key)

    def popitem(self) -> NoReturn:
        """Refused."""
        _refuse_to_change("popitem")


class _SharedItems(Items):  # type: ignore[misc]  # pydicom has no types here
    """The items of a shared element, which stay as they are too."""

    def __setitem__(self, index: Any, _: Any) -> None:
        _refuse_to_change(index)

    def __delitem__(self, index: Any) -> None:
        _refuse_to_change(index)

    def insert(self, index: int, _: Any) -> None:
        """Refused."""
        _refuse_to_change(index)

    def append(self, _: Any) -> None:
        """Refused."""
        _refuse_to_change("append")

    def extend(self, _: Any) -> None:
        """Refused."""
        _refuse_to_change("extend")


def _refuse_to_change(what: object) -> NoReturn:
    raise TypeError(f"{what}: this stands in several items: put another element in its place")


def element(keyword: str, value: Any) -> DataElement:
    """An element whose value is of the type that pydicom keeps for its VR, and valid there."""
    tag, vr = _tag_and_vr(keyword)
    return DataElement(tag, vr, value, already_converted=True)


@lru_cache(maxsize=256)
def shared_text(keyword: str, value: str) -> SharedElement:
    """The same element whenever it says the same: enumerated values and other words of the standard."""
    return SharedElement(*_tag_and_vr(keyword), value)


def shared_items(keyword: str, items: Iterable[Dataset]) -> SharedElement:
    """A sequence for several items to hold; what stands in its own items stays as it is too."""
    return _fixed(element(keyword, items))


def _fixed(one: DataElement) -> SharedElement:
    value = one.value
    if one.VR == "SQ":
        value = _SharedItems([_made(_SharedItem, map(_fixed, item)) for item in one.value])
    return SharedElement(one.tag, one.VR, value)


def items(keyword: str, held: Iterable[Dataset]) -> DataElement:
    """A sequence of these items."""
    return element(keyword, Items(held))


def item_of(elements: Iterable[DataElement]) -> Dataset:
    """An item that holds these elements: what `Dataset()` and a value set for each of them make."""
    return _made(Dataset, elements)


def _made(kind: type[Dataset], elements: Iterable[DataElement]) -> Dataset:
    made: Dataset = object.__new__(kind)
    attributes = vars(made)
    attributes.update(_OF_AN_EMPTY_ITEM)
    attributes.update(_private_blocks={}, _pixel_array_opts={"use_pdh": False}, _pixel_id={})
    attributes["_dict"] = {one.tag: one for one in elements}
    return made


@lru_cache(maxsize=256)
def _tag_and_vr(keyword: str) -> tuple[BaseTag, str]:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return Tag(tag), dictionary_VR(tag)
