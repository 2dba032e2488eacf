"""Which image of a study is which: by side and view where the headers tell them apart, else by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydicom import Dataset

from whyray.imaging import SourceImage, detector_view
from whyray.results.answer import Answer, ImageInStudy
from whyray.results.side import side_of
from whyray.results.wording import Wording

_CODED_VIEWS = {
    **dict.fromkeys(("399162004", "R-10242"), "CC"),
    **dict.fromkeys(("399368009", "R-10226"), "MLO"),
    **dict.fromkeys(("399260004", "R-10224"), "ML"),
    **dict.fromkeys(("399352003", "R-10228"), "LM"),
    **dict.fromkeys(("399099002", "R-10230"), "LMO"),
    **dict.fromkeys(("399196006", "R-10244"), "FB"),
    **dict.fromkeys(("399188001", "R-102D0"), "SIO"),
    **dict.fromkeys(("441555000", "R-40AAA"), "ISO"),
    **dict.fromkeys(("399192008", "R-1024A"), "XCCL"),
    **dict.fromkeys(("399101009", "R-1024B"), "XCCM"),
}
"""View Position of a mammogram by the code of its view: CID 4014, in SNOMED CT and in SNOMED RT as older devices do."""


BREAST_VIEWS = frozenset(_CODED_VIEWS.values())
"""Views of a breast by these abbreviations, which are those of View Position too."""
_BEFORE = {
    **dict.fromkeys(("399163009", "R-102D6"), "M"),
    **dict.fromkeys(("399055006", "R-102D7"), "S"),
}
_BEHIND = {
    **dict.fromkeys(("399209000", "R-102D5"), "ID"),
    **dict.fromkeys(("399011000", "R-102D1"), "AT"),
    **dict.fromkeys(("399161006", "R-102D2"), "CV"),
    **dict.fromkeys(("399197002", "R-102D3"), "RL"),
    **dict.fromkeys(("399226006", "R-102D4"), "RM"),
    **dict.fromkeys(("414493004", "R-102CA"), "RI"),
    **dict.fromkeys(("415670009", "R-102C9"), "RS"),
    **dict.fromkeys(("399110001", "R-102C2"), "TAN"),
    **dict.fromkeys(("441752004", "P2-00161"), "AC"),
    **dict.fromkeys(("442580003", "R-40AB2"), "AX"),
    **dict.fromkeys(("442593008", "R-40ABE"), "IMF"),
    **dict.fromkeys(("442581004", "R-40AB3"), "NP"),
}
"""Abbreviations of View Modifier Code Sequence (0054,0222), CID 4015, that stand before the view's own, and behind."""


def images_in_study(images: Sequence[SourceImage]) -> list[ImageInStudy]:
    """What tells each of these images from the others, in their order."""
    views = [(side_of(image), modified_view(image.header) or _detector_view(image)) for image in images]
    times = Counter(views)
    return [
        ImageInStudy(side, view, number, len(images), alone=times[side, view] == 1 and bool(side or view))
        for number, (side, view) in enumerate(views, start=1)
    ]


def place_to_say(answer: Answer) -> ImageInStudy | None:
    """What a page says of which image it is about: its place in the study; of an image alone its side and view, where
    it has a side, or was taken by a gamma camera from one."""
    if answer.in_study is not None:
        return answer.in_study
    if answer.image.kind == "planar" and len(answer.image.headers) > 1:
        return None  # of all images of a study together
    (place,) = images_in_study([answer.image])
    return place if place.side or _detector_view(answer.image) else None


def image_in_words(place: ImageInStudy | None, wording: Wording, *, with_side: bool = True) -> str:
    """'MLO view, right', or 'image 2 of 3' where side and view don't tell it from others; empty of an image alone."""
    if place is None:
        return ""
    words = wording.pages.study
    said = []
    if place.view:
        said.append(words.views.get(place.view) or words.view.format(view=place.view))
    if place.side and with_side:
        said.append(side_in_words(place, wording))
    if not place.alone or not said:
        said.append(words.numbered.format(number=place.number, total=place.total))
    return ", ".join(said)


def side_in_words(place: ImageInStudy | None, wording: Wording) -> str:
    """The side that the image shows of a part that is one of a pair; else empty."""
    words = wording.pages.study
    return "" if place is None else {"R": words.right, "L": words.left}.get(place.side, "")


def view_of(header: Dataset) -> str:
    """View Position (0018,5101), else the abbreviation of View Code Sequence (0054,0220).

    Empty where neither tells, or they tell two views of a breast.
    """
    view = str(header.get("ViewPosition") or "").strip().upper()
    item = _view_item(header)
    coded = "" if item is None else _CODED_VIEWS.get(str(item.get("CodeValue") or ""), "")
    if view and coded and view != coded and view in _CODED_VIEWS.values():
        return ""
    return view or coded


def modified_view(header: Dataset) -> str:
    """The view with what was done besides, as mammograms are marked: M CC magnified, MLO ID with the implant away."""
    view, (before, behind) = view_of(header), _view_modifiers(header)
    return " ".join([*before, *([view] if view else []), *behind])


def is_implant_displaced(header: Dataset) -> bool:
    """Whether a breast was taken with its implant pushed away: a view of ID."""
    return "ID" in _view_modifiers(header)[1]


def _view_modifiers(header: Dataset) -> tuple[list[str], list[str]]:
    """Abbreviations of the modifiers that stand before the view's own, and behind it."""
    item = _view_item(header)
    modifiers = [] if item is None else item.get("ViewModifierCodeSequence") or []
    codes = [str(modifier.get("CodeValue") or "") for modifier in modifiers]
    return [_BEFORE[value] for value in codes if value in _BEFORE], [
        _BEHIND[value] for value in codes if value in _BEHIND
    ]


def _detector_view(image: SourceImage) -> str:
    """Of a planar nuclear medicine image, which side of the patient it shows; frames of one instance may differ."""
    if image.kind == "volume" or len(image.frames) != 1:
        return ""
    return detector_view(image.header, image.frames[0].frame_number)


def _view_item(header: Dataset) -> Dataset | None:
    coded = header.get("ViewCodeSequence")
    return coded[0] if coded else None
