"""From a source image to the tensor that a package's graph takes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.blas import one_blas_thread
from whyray.base.errors import ImageError
from whyray.base.frame_array import Frames
from whyray.imaging.attributes import decimal_numbers
from whyray.imaging.photometry import LUMA
from whyray.imaging.planar import planar_grid, planar_to_grid
from whyray.imaging.source import ModelInput, SourceImage
from whyray.imaging.units import values_in_unit
from whyray.imaging.volume import volume_grid, volume_to_grid

if TYPE_CHECKING:
    from whyray.packages import InputSpec


def to_model(image: SourceImage, spec: InputSpec) -> ModelInput:
    """Return the tensor for a package, and the grid that says where it lies.

    Intensities are mapped to 0..1 pixel by pixel first (so that padding and metal don't bleed into their neighbours),
    then resampled, then brought to the manifest's mean and std. Voxels outside the source get `pad_value`.
    Raises ImageError when the package wants another kind of image, another modality, values in a unit that the image
    can't be brought to, or more than the image gives.
    """
    _refuse_what_does_not_fit(image, spec)
    modality = values_in_unit(image, spec.intensity)
    with one_blas_thread():
        if image.kind == "planar":
            grid = planar_grid(image.frames[0], (spec.shape[0], spec.shape[1]), spec.fit)
            values, valid = planar_to_grid(model_intensity(image, spec, 0, modality), grid)
        else:
            shape = (spec.shape[0], spec.shape[1], spec.shape[2])
            grid = volume_grid(image.frames, shape, spec.spacing, stored_along=_stored_along(image))
            values, valid = volume_to_grid(
                image.frames, lambda index: model_intensity(image, spec, index, modality), grid
            )
    np.clip(values, 0, 1, out=values)
    values[~valid] = spec.pad_value
    if values.ndim == len(grid.shape):
        values = np.repeat(values[..., None], spec.channels, axis=-1)
    values -= np.asarray(spec.intensity.mean, np.float32)
    values /= np.asarray(spec.intensity.std, np.float32)
    if spec.layout != "NHWC":
        values = np.moveaxis(values, -1, 0)
    return ModelInput(np.ascontiguousarray(values[None], dtype=np.float32), grid, valid)


def _stored_along(image: SourceImage) -> Literal[1, -1] | None:
    """Whether a volume that is given as its frames are stored has them along their normal (1) or against it (-1).

    Tomosynthesis of a breast (MG) is looked at, and models are trained on it, so: its planes are as oblique as the
    compression, and the patient's axes would come in another order at 44 degrees than at 46. None for all others.
    Single frames are stored in the order of Instance Number (0020,0013); a disorder counts as what most of it does.
    """
    if str(image.header.get("Modality") or "") != "MG":
        return None
    numbers = {uid: decimal_numbers(header, "InstanceNumber") for uid, header in image.headers.items()}
    stored = [((numbers[frame.sop_instance_uid] or (0,))[0] or 0, frame.frame_number) for frame in image.frames]
    steps = sum((after > before) - (after < before) for before, after in itertools.pairwise(stored))
    return -1 if steps < 0 else 1


def model_intensity(image: SourceImage, spec: InputSpec, index: int, modality: Frames[np.float32]) -> FloatArray:
    """One frame in 0..1 before mean and std: (rows, columns), or (rows, columns, 3) for a package of three channels.

    `modality`: the image's values in the unit that the package's window is in.
    """
    if spec.intensity.source == "modality":
        assert spec.intensity.window is not None
        centre, width = spec.intensity.window
        values = (modality[index] - np.float32(centre - width / 2)) / np.float32(width)
        values = np.clip(values, 0, 1)
    else:
        values = image.display[index]
        if values.ndim == 3 and spec.channels == 1:
            values = values @ LUMA
    padding = image.padding[index]
    if padding.any():
        values = np.where(padding.reshape(*padding.shape, *[1] * (values.ndim - 2)), np.float32(spec.pad_value), values)
    return np.asarray(values, dtype=np.float32)


def _refuse_what_does_not_fit(image: SourceImage, spec: InputSpec) -> None:
    series = image.header.get("SeriesInstanceUID")
    if image.kind != spec.kind:
        raise ImageError(f"series {series}: the package expects a {spec.kind} image, found a {image.kind} one")
    modality = str(image.header.get("Modality") or "")
    if spec.modalities and modality not in spec.modalities:
        raise ImageError(f"series {series}: the package expects {' or '.join(spec.modalities)}, found {modality!r}")
    colour = image.display.ndim == 4
    if colour and spec.intensity.source == "modality":
        raise ImageError(f"series {series}: the package expects modality units, found a colour image")
    if colour and spec.intensity.source == "voi" and spec.channels not in (1, 3):
        raise ImageError(f"series {series}: the package expects {spec.channels} channels, found a colour image")
