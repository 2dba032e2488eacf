"""PNG and JPEG pictures of radiographs, as scientists keep them, wrapped so that WhyRay sees an instance."""

from __future__ import annotations

import hashlib
import uuid
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from whyray.base.errors import DecodeError, ImageError

WRAPPED = (
    "a picture, not DICOM: taken as a computed radiograph of nobody, bright as it is shown, without pixel spacing and "
    "orientation; nothing can be measured in mm, and no result may be filed under a patient"
)
"""What a reader of a report has to know of an image that was a picture."""

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "pictures.whyray")
_IMPLEMENTATION = UID(f"2.25.{_NAMESPACE.int}")
_ADVICE = "Take a PNG or JPEG with one 8- or 16-bit grey value a pixel, or the DICOM file that it was made from."


def is_picture(path: Path) -> bool:
    """Whether a file begins as PNG or JPEG files do, whatever its name."""
    with path.open("rb") as file:
        start = file.read(8)
    return start.startswith(_SIGNATURES)


def wrap_picture(path: Path) -> FileDataset:
    """A CR instance (PS3.3 section A.2) in memory with the picture's pixels, rows × columns, 8 or 16 bits, unsigned.

    The UIDs are derived from the pixels (2.25, PS3.5 section B.2): the same picture is the same study, however its file
    is called or compressed. Attributes that a picture does not hold are empty or left out; none is invented.

    Raises
    ------
    DecodeError
        If the file can't be decoded.
    ImageError
        If it is in colour, or partly transparent.
    """
    pixels, lossy = _grey(path)
    bits = pixels.dtype.itemsize * 8
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    data = FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta)
    data.SOPClassUID = ComputedRadiographyImageStorage
    data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID = _uids(pixels)
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
        *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
        *("SeriesNumber", "InstanceNumber", "Manufacturer", "BodyPartExamined", "ViewPosition", "PatientOrientation"),
    ):
        setattr(data, keyword, None)
    data.Modality = "CR"
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.DerivationDescription = "Wrapped from a picture that was not DICOM"
    data.LossyImageCompression = "01" if lossy else "00"
    if lossy:
        data.LossyImageCompressionMethod = "ISO_10918_1"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.add_new("PixelData", "OB" if bits == 8 else "OW", _even(pixels.astype(pixels.dtype.newbyteorder("<"))))
    return data


def _grey(path: Path) -> tuple[NDArray[Any], bool]:
    """(rows, columns) uint8 or uint16, and whether it was JPEG."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as picture:
                picture.load()
                return _single_channel(picture, path), picture.format == "JPEG"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{path.name}: expected at most {Image.MAX_IMAGE_PIXELS} pixels, found more", advice=_ADVICE
        ) from error
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise DecodeError(
            f"{path.name}: expected a whole PNG or JPEG picture, found one that can't be decoded", advice=_ADVICE
        ) from error


def _single_channel(picture: Image.Image, path: Path) -> NDArray[Any]:
    if picture.mode.startswith("I"):  # 16-bit PNG; pillow calls it I or I;16
        return np.asarray(picture).astype(np.uint16)
    channels = np.asarray(picture.convert("RGBA"))
    if (channels[..., 3] != 255).any():
        raise ImageError(f"{path.name}: expected a picture without transparency, found some", advice=_ADVICE)
    grey: NDArray[Any] = channels[..., 0]
    if (channels[..., :3] != grey[..., None]).any():
        raise ImageError(f"{path.name}: expected grey values, found colours", advice=_ADVICE)
    return grey


def _uids(pixels: NDArray[Any]) -> list[UID]:
    digest = hashlib.sha256(f"{pixels.dtype.name} {pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    return [UID(f"2.25.{uuid.uuid5(_NAMESPACE, f'{level} {digest}').int}") for level in ("study", "series", "instance")]


def _even(pixels: NDArray[Any]) -> bytes:
    data = pixels.tobytes()
    return data + b"\0" * (len(data) % 2)
