"""Which side of the patient an image shows, as results say it."""

from __future__ import annotations

from pydicom import Dataset

from whyray.base.coded_concept import CodedConcept
from whyray.imaging import SourceImage
from whyray.results.coding import item
from whyray.results.header import add_body_part
from whyray.results.remembered import Remembered

_CODES = {
    "R": CodedConcept(value="24028007", scheme="SCT", meaning="Right"),
    "L": CodedConcept(value="7771000", scheme="SCT", meaning="Left"),
}
"""CID 244."""
_sides: Remembered[str] = Remembered(16)
"""By image: each group of a report asks for it, of which a CT has hundreds of headers."""
_BREAST = CodedConcept(value="76752008", scheme="SCT", meaning="Breast")


def side_of(image: SourceImage) -> str:
    """R or L where all instances of the image say the same of a part that is one of a pair; else empty."""
    return _sides.of((image,), None, lambda: _side_of(image))


def _side_of(image: SourceImage) -> str:
    sides = set()
    for header in image.headers.values():
        series = Dataset()
        add_body_part(series, header)
        sides.add(str(series.get("Laterality") or ""))
    return sides.pop() if len(sides) == 1 else ""


def add_side(made: Dataset, image: SourceImage) -> None:
    """Laterality (0020,0060), where it is known; it is left out of objects whose series need not have it."""
    side = side_of(image)
    if side:
        made.Laterality = side


def side_concept(image: SourceImage) -> CodedConcept | None:
    """The code of `side_of`, where there is a side."""
    return _CODES.get(side_of(image))


def is_breast(image: SourceImage) -> bool:
    """Whether an image is of a breast, by body part or modality."""
    header = image.header
    return str(header.get("BodyPartExamined") or "").strip() == "BREAST" or header.get("Modality") == "MG"


def site_of(image: SourceImage, anatomy: CodedConcept | None) -> CodedConcept | None:
    """The anatomy that the package names; of a mammogram with a side the breast, so that the side has a place."""
    return _BREAST if anatomy is None and is_breast(image) and side_of(image) else anatomy


def region_item(image: SourceImage, anatomy: CodedConcept) -> Dataset:
    """An item of Anatomic Region Sequence with its modifier (PS3.3 section 10.5)."""
    made = item(anatomy)
    code = side_concept(image)
    if code is not None:
        made.AnatomicRegionModifierSequence = [item(code)]
    return made
