"""NIfTI volumes, as scientists keep them, wrapped so that WhyRay sees a series of instances."""

from __future__ import annotations

import gzip
import hashlib
import struct
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)
from pydicom.valuerep import format_number_as_ds

from whyray.base.errors import DecodeError, GeometryError, ImageError, ResourceExhausted
from whyray.base.nifti import LPS_TO_RAS
from whyray.imaging.instance import LARGEST_IMAGE
from whyray.imaging.source import Affine

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

WRAPPED_NIFTI = "Wrapped from a NIfTI volume that was not DICOM"
"""Derivation Description of its instances."""
NIFTI_MODALITIES = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}
"""What a NIfTI volume can be taken as: it does not say itself what it is of."""

_ENDINGS = (".nii", ".nii.gz")
_HEADER = 352
_GZIP = b"\x1f\x8b"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "volumes.whyray")
_IMPLEMENTATION = UID(f"2.25.{_NAMESPACE.int}")
_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_STEPS = 65535
_RIGHT_ANGLE = 1e-4
"""Cosine between rows and columns that counts as a right angle: over 512 pixels a twentieth of one."""
_ADVICE = "Take a NIfTI-1 or NIfTI-2 file (.nii, .nii.gz) of one grey volume, or the DICOM series it was made from."

# per patient axis that the slices run along, as (axis, sign) in LPS: the direction of a row and that of a column
_AS_READ = {0: ((1, 1), (2, -1)), 1: ((0, 1), (2, -1)), 2: ((0, 1), (1, 1))}


@dataclass(frozen=True)
class WrappedVolume:
    """One instance a slice, in memory; `remarks` are what a reader of a report has to know of it."""

    instances: tuple[FileDataset, ...]
    remarks: str


def is_nifti(path: Path) -> bool:
    """Whether a file is called as NIfTI volumes are, or begins as one does, compressed or not."""
    if path.name.lower().endswith(_ENDINGS):
        return True
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER)
        if start.startswith(_GZIP):
            with gzip.open(path) as file:
                start = file.read(_HEADER)
    except (OSError, EOFError, zlib.error):
        return False
    return _is_header(start)


def _is_header(start: bytes) -> bool:
    if len(start) < _HEADER:
        return False
    sizes = struct.unpack("<i", start[:4])[0], struct.unpack(">i", start[:4])[0]
    return (348 in sizes and start[344:348] == b"n+1\0") or (540 in sizes and start[4:8] == b"n+2\0")


def wrap_nifti(path: Path, modality: str | None) -> WrappedVolume:
    """One instance of `modality` (a key of NIFTI_MODALITIES) a slice, with the volume's values, spacing and place.

    The slices are those of the file's third axis, turned by quarters as a reader expects them: towards the left and
    the back, or towards the feet. Nothing is resampled. NIfTI's world axes run towards right, front and head, DICOM's
    towards left, back and head: the affine is the sform, or the qform where there is none. 16-bit integers are kept as
    they are; other values that are no such integers are rounded to 65,536 steps, which is told. UIDs are derived from
    values, place and modality (2.25, PS3.5 section B.2). Attributes that the file does not hold are empty.

    Raises
    ------
    DecodeError
        If the file can't be read.
    GeometryError
        If it does not say where it lies, or its rows and columns are not at right angles.
    ImageError
        If no modality is named, or it is not one grey volume of finite numbers.
    ResourceExhausted
        If memory does not suffice.
    """
    name = path.name
    if modality not in NIFTI_MODALITIES:
        given = "none is named" if modality is None else f"found {modality!r}"
        raise ImageError(
            f"{name}: expected one of the modalities {', '.join(NIFTI_MODALITIES)}, and {given}: NIfTI does not say "
            "of what kind its values are",
            advice="Say it: `--modality CT` for values in Hounsfield units.",
        )
    try:
        image = _opened(path)
        affine, placed = _placed(image, name)
        stored, slope, intercept, rounded = _stored(image, name)
    except MemoryError as error:
        raise ResourceExhausted(f"{name}: not enough memory to read it") from error
    slices, to_patient = _as_read(stored, affine)
    remarks = (
        f"a NIfTI volume, not DICOM: taken as {modality} of nobody, {placed}"
        f"{rounded}; no result may be filed under a patient"
    )
    return WrappedVolume(tuple(_instances(slices, slope, intercept, to_patient, modality, _window(image))), remarks)


def _opened(path: Path) -> Nifti1Image:
    """The volume with its values still in the file, of three axes."""
    import nibabel  # late: only this kind of file needs it
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    name = path.name
    try:
        image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):  # NIfTI-2's class is one of its own below it
            raise ImageFileError("another format")
        shape = tuple(int(size) for size in image.shape)
        kind = image.get_data_dtype()
    except (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError, struct.error) as error:
        raise DecodeError(
            f"{name}: expected a NIfTI volume, found a file that can't be read", advice=_ADVICE
        ) from error
    if kind.fields is not None or kind.kind not in "iuf":
        what = "colours (RGB)" if kind.fields is not None else f"values of type {kind}"
        raise ImageError(f"{name}: expected one grey value a voxel, found {what}", advice=_ADVICE)
    if len(shape) < 3 or any(size > 1 for size in shape[3:]) or min(shape, default=0) < 1:
        what = "a picture" if len(shape) < 3 else f"{int(np.prod(shape[3:]))} of them"
        raise ImageError(
            f"{name}: expected one volume of three axes, found {what} ({' × '.join(map(str, shape))})",
            advice="Take one volume out of it, e.g. with `nibabel.four_to_three`.",
        )
    if shape[2] < 2:
        raise ImageError(f"{name}: expected a volume of at least two slices, found one slice", advice=_ADVICE)
    if int(np.prod([np.int64(size) for size in shape])) > LARGEST_IMAGE:
        raise DecodeError(f"{name}: expected a volume, found one of {' × '.join(map(str, shape))}", advice=_ADVICE)
    return image


def _placed(image: Nifti1Image, name: str) -> tuple[Affine, str]:
    """(i, j, k) → mm in LPS, by sform or else qform, and the words on it."""
    header = image.header
    forms = {}
    try:
        for word, (form, code) in (
            ("sform", header.get_sform(coded=True)),
            ("qform", header.get_qform(coded=True)),
        ):
            if code > 0 and form is not None:
                forms[word] = np.asarray(form, np.float64)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise GeometryError(f"{name}: its qform can't be one: {error}", advice=_ADVICE) from error
    if not forms:
        raise GeometryError(
            f"{name}: expected an sform or a qform that says where the volume lies, found both with code 0 (unknown): "
            "left and right could be mistaken for each other",
            advice="Write the affine with a code, e.g. by nibabel's set_sform(affine, code='scanner'), or take DICOM.",
        )
    word, affine = next(iter(forms.items()))
    unit = header.get_xyzt_units()[0]
    affine = affine.copy()
    affine[:3] *= _MILLIMETRES.get(unit, 1.0)
    steps = affine[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    if not np.isfinite(affine).all() or lengths.min() <= 0 or abs(np.linalg.det(steps / lengths)) < 1e-3:
        raise GeometryError(f"{name}: expected an {word} with three axes, found one that is flat", advice=_ADVICE)
    across, down = steps[:, 0] / lengths[0], steps[:, 1] / lengths[1]
    if abs(across @ down) > _RIGHT_ANGLE:
        angle = np.degrees(np.arccos(np.clip(across @ down, -1, 1)))
        raise GeometryError(
            f"{name}: expected first and second axis at right angles, found {angle:.2f} degrees by its {word}: DICOM "
            "has no such slices",
            advice="Resample the volume to a grid without shear first.",
        )
    words = f"placed by its {word} ({header.get_value_label(f'{word}_code')})"
    if len(forms) == 2 and _far_apart(forms["sform"], forms["qform"], image.shape):
        words += ", which its qform contradicts"
    return LPS_TO_RAS @ affine, words


def _far_apart(first: Affine, second: Affine, shape: tuple[int, ...]) -> bool:
    """Whether two affines put a corner of the volume half a voxel or more apart."""
    corners = np.array([[i, j, k, 1] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1) for k in (0, shape[2] - 1)])
    apart = np.linalg.norm((corners @ (first - second).T)[:, :3], axis=1).max()
    return bool(apart > np.linalg.norm(first[:3, :3], axis=0).min() / 2)


def _stored(image: Nifti1Image, name: str) -> tuple[NDArray[Any], float, float, str]:
    """Values (i, j, k) of 16 bits, slope and intercept to the real ones, and words where these were rounded."""
    proxy: Any = image.dataobj
    shape = image.shape[:3]
    try:
        if image.get_data_dtype().kind in "iu" and image.get_data_dtype().itemsize <= 2:
            raw = np.asanyarray(proxy.get_unscaled()).reshape(shape)
            target = np.int16 if raw.dtype.kind == "i" else np.uint16
            return raw.astype(target), float(proxy.slope), float(proxy.inter), ""
        values = np.asanyarray(proxy).reshape(shape)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DecodeError(f"{name}: expected as many values as its header says, found fewer", advice=_ADVICE) from error
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(
            f"{name}: expected finite numbers, found NaN or infinity in it",
            advice="Say what these voxels are: for CT, -1000 or less is nothing (numpy.nan_to_num).",
        )
    if np.array_equal(values, np.rint(values)):
        for target in (np.int16, np.uint16):
            if np.iinfo(target).min <= low and high <= np.iinfo(target).max:
                return values.astype(target), 1.0, 0.0, ""
    step = float(format_number_as_ds((high - low) / _STEPS)) if high > low else 1.0
    least = float(format_number_as_ds(low))
    stored = np.clip(np.rint((values.astype(np.float64) - least) / step), 0, _STEPS).astype(np.uint16)
    return stored, step, least, f", its values rounded to steps of {step:.3g}"


def _window(image: Nifti1Image) -> tuple[float, float] | None:
    """(centre, width) by cal_min and cal_max, where the file says what is to be seen."""
    low, high = float(image.header["cal_min"]), float(image.header["cal_max"])
    return ((low + high) / 2, high - low) if np.isfinite([low, high]).all() and high > low else None


def _as_read(values: NDArray[Any], to_patient: Affine) -> tuple[NDArray[Any], Affine]:
    """Values (slices, rows, columns) and (slice, row, column) → mm, the in-plane axes turned as a reader expects them.

    Quarter turns and mirror images of the grid alone, which nibabel carries out on values and affine together.
    """
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    now = io_orientation(to_patient)
    through = int(now[2, 0])
    row, column = _AS_READ[through]
    wanted = {through: (0, 1), column[0]: (1, column[1]), row[0]: (2, row[1])}
    turn = np.array([[wanted[int(axis)][0], sign * wanted[int(axis)][1]] for axis, sign in now])
    return np.ascontiguousarray(apply_orientation(values, turn)), to_patient @ inv_ornt_aff(turn, values.shape)


def _instances(
    slices: NDArray[Any],
    slope: float,
    intercept: float,
    to_patient: Affine,
    modality: str,
    window: tuple[float, float] | None,
) -> list[FileDataset]:
    digest = hashlib.sha256(f"{modality} {slope!r} {intercept!r} {slices.dtype.name} {slices.shape}".encode())
    digest.update(to_patient.round(6).tobytes())
    digest.update(slices.tobytes())
    series = digest.hexdigest()
    steps = to_patient[:3, :3]
    between = np.linalg.norm(steps, axis=0)
    directions = [*steps[:, 2] / between[2], *steps[:, 1] / between[1]]
    normal = np.cross(directions[:3], directions[3:])
    thickness = format_number_as_ds(float(abs(normal @ steps[:, 0])))
    made = []
    for index, pixels in enumerate(slices):
        data = _instance(modality, series, index)
        position = to_patient[:3, 3] + steps[:, 0] * index
        data.ImagePositionPatient = [format_number_as_ds(float(value)) for value in position]
        data.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in directions]
        data.PixelSpacing = [format_number_as_ds(float(between[axis])) for axis in (1, 2)]
        data.SliceThickness = data.SpacingBetweenSlices = thickness
        data.RescaleSlope, data.RescaleIntercept = format_number_as_ds(slope), format_number_as_ds(intercept)
        if modality == "CT":
            data.RescaleType = "HU"
        if window is not None:
            data.WindowCenter, data.WindowWidth = (format_number_as_ds(value) for value in window)
        data.Rows, data.Columns = pixels.shape
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        data.add_new("PixelData", "OW", pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
        made.append(data)
    return made


def _instance(modality: str, digest: str, index: int) -> FileDataset:
    """An instance without pixels and place; the same digest gives the same UIDs."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = NIFTI_MODALITIES[modality]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    data = FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta)
    data.SOPClassUID = NIFTI_MODALITIES[modality]
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = (
        _uid(level, digest) for level in ("study", "series", "frame of reference")
    )
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = _uid(f"instance {index}", digest)
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
        *("AccessionNumber", "ReferringPhysicianName", "SeriesNumber", "Manufacturer", "BodyPartExamined"),
        *("PatientPosition", "PositionReferenceIndicator"),
    ):
        setattr(data, keyword, None)
    data.Modality = modality
    data.InstanceNumber = index + 1
    data.ImageType = ["DERIVED", "SECONDARY", "AXIAL"] if modality == "CT" else ["DERIVED", "SECONDARY"]
    data.DerivationDescription = WRAPPED_NIFTI
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    return data


def _uid(level: str, digest: str) -> UID:
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, f'{level} {digest}').int}")
