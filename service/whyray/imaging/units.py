"""In which unit an image's values are, and what brings them to the unit that a model was trained in.

CT says it by Rescale Type (PS3.3 sections C.8.2.1 and C.11.1.1.2), PET by Units and SUV Type (section C.8.9.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom import Dataset

from whyray.base.errors import ImageError
from whyray.imaging.attributes import attribute_name, written_texts, written_value
from whyray.imaging.functional_groups import holder_of
from whyray.imaging.nifti import WRAPPED_NIFTI
from whyray.imaging.source import SourceImage
from whyray.imaging.standardised_uptake import uptake_per_value

if TYPE_CHECKING:
    from whyray.packages import Intensity

_SAY_IT = "Say in the package's input.intensity which unit it was trained on: unit: SUVbw, or unit: BQML."


def factor_to_unit(image: SourceImage, intensity: Intensity) -> float:
    """By what modality values are multiplied to be in the unit that a package takes them in.

    Where it names none, Hounsfield units are expected of CT, and any of what is neither CT nor PET. A volume that was
    no DICOM says nothing of its unit: whoever gave it has given it in the package's.
    Raises ImageError, in plain words, where the image is in another unit that can't be brought to it.
    """
    if intensity.source != "modality":
        return 1.0
    modality = str(image.header.get("Modality") or "")
    if modality == "PT":
        return _factor_of_pet(image, intensity)
    if intensity.unit is None and modality != "CT":
        return 1.0
    if intensity.unit in ("BQML", "SUVbw"):
        raise ImageError(f"{_series(image)}: the package expects PET in {intensity.unit}, found {modality or 'none'}")
    _refuse_other_than_hounsfield(image, modality, unspecified=intensity.unit is None)
    return 1.0


def _factor_of_pet(image: SourceImage, intensity: Intensity) -> float:
    if intensity.unit is None:
        raise ImageError(
            f"{_series(image)}: the package does not say in input.intensity.unit which modality units it expects, and "
            f"PET has counts, Bq/ml or SUV: found {attribute_name('Units')} {written_value(image.header, 'Units')}",
            advice=_SAY_IT,
            in_service=_SAY_IT,
        )
    if image.header.get("DerivationDescription") == WRAPPED_NIFTI:
        return 1.0
    if intensity.unit == "SUVbw":
        return uptake_per_value(image.headers)
    units = written_texts(image.header, "Units")[0]
    if intensity.unit != units:
        raise ImageError(
            f"{_series(image)}: the package expects values in {intensity.unit}, found {attribute_name('Units')} "
            f"{written_value(image.header, 'Units')}"
        )
    return 1.0


def _refuse_other_than_hounsfield(image: SourceImage, modality: str, *, unspecified: bool) -> None:
    """ImageError where a slice says that its values are none: an effective atomic number, a concentration of iodine."""
    if modality != "CT":
        raise ImageError(f"{_series(image)}: the package expects Hounsfield units of CT, found {modality or 'none'}")
    for frame in image.frames:
        holder, stated = _rescale_type(image.headers[frame.sop_instance_uid], frame.frame_number)
        if stated not in ("", "HU") and not (unspecified and stated == "US"):
            raise ImageError(
                f"{_series(image)}: the package expects Hounsfield units, found {attribute_name('RescaleType')} "
                f"{written_value(holder, 'RescaleType')}"
            )


def _rescale_type(header: Dataset, frame_number: int) -> tuple[Dataset, str]:
    holder = holder_of(header, frame_number, "PixelValueTransformationSequence", "RescaleType") or header
    return holder, written_texts(holder, "RescaleType")[0].upper()


def _series(image: SourceImage) -> str:
    return f"series {image.header.get('SeriesInstanceUID')}"
