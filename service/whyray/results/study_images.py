"""Which image of a study is which: by side and view where the headers tell them apart, else by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydicom import Dataset

from whyray.imaging import SourceImage
from whyray.results.answer import ImageInStudy
from whyray.results.side import side_of
from whyray.results.wording import Wording

_CODED_VIEWS = {
    "399162004": "CC",
    "399368009": "MLO",
    "399260004": "ML",
    "399352003": "LM",
    "399192008": "XCCL",
    "399101009": "XCCM",
    "399196006": "FB",
    "399099002": "LMO",
    "R-10242": "CC",
    "R-10226": "MLO",
    "R-10224": "ML",
    "R-10228": "LM",
}
"""View Position of a mammogram by the code of its view: CID 4014, in SNOMED CT and in SNOMED RT as older devices do."""


def images_in_study(images: Sequence[SourceImage]) -> list[ImageInStudy]:
    """What tells each of these images from the others, in their order."""
    told = [(side_of(image), _view(image.header)) for image in images]
    times = Counter(told)
    return [
        ImageInStudy(side, view, number, len(images), alone=times[side, view] == 1 and bool(side or view))
        for number, (side, view) in enumerate(told, start=1)
    ]


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


def _view(header: Dataset) -> str:
    """View Position (0018,5101), else the abbreviation of View Code Sequence (0054,0220); empty where neither tells."""
    view = str(header.get("ViewPosition") or "").strip().upper()
    if view:
        return view
    coded = header.get("ViewCodeSequence")
    return _CODED_VIEWS.get(str(coded[0].get("CodeValue") or ""), "") if coded else ""
