"""Whether standardised uptake values can be: no image holds more activity than was injected.

An SUV of 1 is the injected activity spread evenly over the body, so that the SUV of all voxels, each times its volume,
add up to at most the body's weight. A dose, or values, off by a factor of 1000 (kBq for Bq) are found by that in any
image of more than a fingertip; a weight by itself is not, for it is a factor of both sides.
"""

from __future__ import annotations

import numpy as np

from whyray.base.errors import ImageError
from whyray.base.frame_array import Frames
from whyray.imaging.attributes import attribute_name, decimal_numbers
from whyray.imaging.source import SourceImage
from whyray.imaging.standardised_uptake import WEIGHTS

MOST_OF_ACTIVITY = 2.0
"""Times the injected activity: calibration, noise and scatter beside the body add tenths."""
LEAST_OF_ACTIVITY = 1e-3
"""Of the injected activity in an image of at least `LARGE` ml: one whose values or dose are off by 1000 has less,
however much of the body it shows; a hand has about twice that."""
LARGE = 2000.0
_ADVICE = "Compare dose, weight and the unit of the values with the tracer's record."


def refuse_impossible_uptake(
    image: SourceImage, uptake: Frames[np.float32], *, by_dose: bool, may_be_empty: bool = False
) -> None:
    """ImageError where SUV by body weight, (frames, rows, columns), add up to what no body can hold.

    `by_dose`: it was computed here, of dose and times, and may be too little for them, unless the image `may_be_empty`,
    as one of a dynamic series is before the tracer has come. SUV that was computed elsewhere may be next to none too,
    and needs no weight: nothing is said of an image whose weight can't be in kg, and of a planar one.
    """
    (weight,) = weights if len(weights := decimal_numbers(image.header, "PatientWeight")) == 1 else (None,)
    voxel = _voxel_volume(image)
    if weight is None or not WEIGHTS[0] <= weight <= WEIGHTS[1] or voxel is None:
        return
    total = 0.0
    for index in range(len(uptake)):
        values = uptake[index]
        total += float(values[~image.padding[index]].sum(dtype=np.float64))
    share = total * voxel / (1000 * weight)
    large = voxel * float(np.prod(image.shape)) >= LARGE
    too_little = by_dose and not may_be_empty and large and share < LEAST_OF_ACTIVITY
    if share > MOST_OF_ACTIVITY or too_little:
        of_dose = f", {attribute_name('RadionuclideTotalDose')} or the time of injection" if by_dose else ""
        raise ImageError(
            f"series {image.header.get('SeriesInstanceUID')}: expected voxels that hold up to all of the injected "
            f"activity, found {share:.2g} times it: SUV can't be right. Values{of_dose} must be in another unit than "
            "they say",
            advice=_ADVICE,
        )


def _voxel_volume(image: SourceImage) -> float | None:
    """In ml; None of a planar image."""
    affines = [frame.to_patient for frame in image.frames]
    if image.kind != "volume" or any(affine is None for affine in affines):
        return None
    first = affines[0]
    assert first is not None
    places = np.array([affine[:3, 3] for affine in affines if affine is not None]) @ first[:3, 2]
    area = float(np.linalg.norm(np.cross(first[:3, 0], first[:3, 1])))
    return float(np.median(np.abs(np.diff(places)))) * area / 1000
