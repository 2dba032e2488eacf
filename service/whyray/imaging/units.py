"""In which unit an image's values are, and what brings them to the unit that a model was trained in.

CT says it by Rescale Type (PS3.3 sections C.8.2.1 and C.11.1.1.2), PET by Units and SUV Type (section C.8.9.1), any
image by Real World Value Mapping (section C.7.6.16.2.11). What two of them say of one unit has to agree; a mapping that
leaves values out will do where something else states the unit of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset

from whyray.base.errors import ImageError
from whyray.base.frame_array import FrameArray, Frames
from whyray.imaging.attributes import attribute_name, written_texts, written_value
from whyray.imaging.functional_groups import holder_of
from whyray.imaging.mapped_values import SAME_LINE, MappedValues, kept_beside, mapped_values, refuse_disagreement
from whyray.imaging.nifti import WRAPPED_NIFTI
from whyray.imaging.source import SourceImage
from whyray.imaging.standardised_uptake import is_before_uptake, refuse_uncorrected, uptake_per_value
from whyray.imaging.uptake_plausibility import refuse_impossible_uptake

if TYPE_CHECKING:
    from whyray.packages import Intensity

UCUM: Mapping[str, Mapping[str, float]] = {
    "HU": {"[hnsf'U]": 1.0},
    "BQML": {"Bq/ml": 1.0, "Bq/mL": 1.0, "kBq/ml": 1e3},
    "SUVbw": {"{SUVbw}g/ml": 1.0, "g/ml{SUVbw}": 1.0, "g/mL{SUVbw}": 1.0},
    "mm2/s": {"mm2/s": 1.0, "um2/s": 1e-6, "10-3.mm2/s": 1e-3, "10-6.mm2/s": 1e-6},
    "um2/s": {"um2/s": 1.0, "mm2/s": 1e6, "10-3.mm2/s": 1e3, "10-6.mm2/s": 1.0},
    "ms": {"ms": 1.0, "s": 1e3},
    "s": {"s": 1.0, "ms": 1e-3},
}
"""By the unit of a package, the UCUM codes that a mapping may have for it, and how many of the package's one of each
is. Of any other unit its own code alone."""
SAME_UPTAKE = 0.05
"""Share of the largest value by which two statements of SUV may differ: by how a device rounds times and doses before
it computes them."""
_SAY_IT = "Say in the package's input.intensity which unit it was trained on: unit: SUVbw, or unit: BQML."


def values_in_unit(image: SourceImage, intensity: Intensity) -> Frames[np.float32]:
    """An image's modality values in the unit that a package takes them in, (frames, rows, columns).

    Where it names none, Hounsfield units are expected of CT, and any of what is neither CT nor PET. A volume that was
    no DICOM says nothing of its unit: whoever gave it has given it in the package's. Looked at once an image and unit.
    Raises ImageError, in plain words, where the image is in another unit that can't be brought to it, where it says two
    different things, and where its SUV can't be.
    """
    if intensity.source != "modality":
        return image.modality
    if intensity.unit not in image.in_units:
        image.in_units[intensity.unit] = _values(image, intensity.unit)
    return image.in_units[intensity.unit]


def _values(image: SourceImage, unit: str | None) -> Frames[np.float32]:
    modality = str(image.header.get("Modality") or "")
    if modality == "PT":
        return _of_pet(image, unit)
    if unit is None and modality != "CT":
        return image.modality
    if unit in ("BQML", "SUVbw"):
        raise ImageError(f"{_series(image)}: the package expects PET in {unit}, found {modality or 'none'}")
    if unit is None or unit == "HU":
        return _of_ct(image, modality, unspecified=unit is None)
    return _mapped_or_refused(image, unit)


def _of_pet(image: SourceImage, unit: str | None) -> Frames[np.float32]:
    if unit is None:
        raise ImageError(
            f"{_series(image)}: the package does not say in input.intensity.unit which modality units it expects, and "
            f"PET has counts, Bq/ml or SUV: found {attribute_name('Units')} {written_value(image.header, 'Units')}",
            advice=_SAY_IT,
            in_service=_SAY_IT,
        )
    if image.header.get("DerivationDescription") == WRAPPED_NIFTI:
        return image.modality
    if unit == "SUVbw":
        return _uptake(image)
    if unit != "BQML":
        return _mapped_or_refused(image, unit)
    mapped, units = _mapped(image, unit), written_texts(image.header, "Units")[0]
    if units == "BQML":
        if mapped is not None:
            refuse_disagreement(image, mapped, image.modality, unit, SAME_LINE)
        return image.modality
    if mapped is not None and not units:
        mapped.refuse_left_out(image, unit)
        return mapped.values
    raise ImageError(
        f"{_series(image)}: the package expects values in {unit}, found {attribute_name('Units')} "
        f"{written_value(image.header, 'Units')}"
    )


def _uptake(image: SourceImage) -> Frames[np.float32]:
    """SUV by body weight: as the device maps all of it, else computed; where both can be had, they have to agree."""
    mapped = _mapped(image, "SUVbw")
    for header in image.headers.values():
        refuse_uncorrected(header)
    try:
        factor = np.float32(uptake_per_value(image.headers))
    except ImageError:
        if mapped is None:
            raise
        mapped.refuse_left_out(image, "SUVbw")
        refuse_impossible_uptake(image, mapped.values, by_dose=False)
        return mapped.values
    computed = image.modality if factor == 1 else _scaled(image, factor)
    if mapped is not None:
        refuse_disagreement(image, mapped, computed, "SUVbw", SAME_UPTAKE)
        if not mapped.leaves_out(image):
            refuse_impossible_uptake(image, mapped.values, by_dose=False)
            return mapped.values
    by_dose = written_texts(image.header, "Units")[0].upper() == "BQML"
    may_be_empty = by_dose and is_before_uptake(image.headers)
    refuse_impossible_uptake(image, computed, by_dose=by_dose, may_be_empty=may_be_empty)
    return computed


def _of_ct(image: SourceImage, modality: str, *, unspecified: bool) -> Frames[np.float32]:
    """Hounsfield units.

    ImageError where a slice says that its values are none: an effective atomic number, a concentration of iodine.
    """
    if modality != "CT":
        raise ImageError(f"{_series(image)}: the package expects Hounsfield units of CT, found {modality or 'none'}")
    mapped = _mapped(image, "HU")
    taken = ("", "HU", "US") if unspecified or mapped is not None else ("", "HU")
    unstated = False
    for frame in image.frames:
        holder, stated = _rescale_type(image.headers[frame.sop_instance_uid], frame.frame_number)
        unstated = unstated or stated == "US"
        if stated not in taken:
            raise ImageError(
                f"{_series(image)}: the package expects Hounsfield units, found {attribute_name('RescaleType')} "
                f"{written_value(holder, 'RescaleType')}"
            )
    if mapped is None:
        return image.modality
    if unstated:
        mapped.refuse_left_out(image, "HU")
        return mapped.values
    refuse_disagreement(image, mapped, image.modality, "HU", SAME_LINE)
    return image.modality


def _mapped_or_refused(image: SourceImage, unit: str) -> Frames[np.float32]:
    """Values of a unit that no attribute but the mapping states."""
    if image.header.get("DerivationDescription") == WRAPPED_NIFTI:
        return image.modality
    mapped = _mapped(image, unit)
    if mapped is None:
        raise ImageError(
            f"{_series(image)}: the package expects values in {unit}, found no "
            f"{attribute_name('RealWorldValueMappingSequence')} to it"
        )
    mapped.refuse_left_out(image, unit)
    return mapped.values


def _mapped(image: SourceImage, unit: str) -> MappedValues | None:
    return mapped_values(image, unit, UCUM.get(unit, {unit: 1.0}))


def _scaled(image: SourceImage, factor: np.float32) -> FrameArray[np.float32]:
    modality = image.modality
    return FrameArray(image.shape, np.float32, lambda index: modality[index] * factor, remember=kept_beside(image))


def _rescale_type(header: Dataset, frame_number: int) -> tuple[Dataset, str]:
    holder = holder_of(header, frame_number, "PixelValueTransformationSequence", "RescaleType") or header
    return holder, written_texts(holder, "RescaleType")[0].upper()


def _series(image: SourceImage) -> str:
    return f"series {image.header.get('SeriesInstanceUID')}"
