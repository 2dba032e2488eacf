"""Images of real size, with one bright spot at a known place: full-field mammograms, tomosynthesis, angiograms.

Pixels are written to the file frame by frame, each distinct frame encoded once, so that an instance of gigabytes takes
no more memory here than a few of its frames. Frames have the noise of a detector: it is what makes codestreams long.
"""

from __future__ import annotations

import io
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.pixels import get_encoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
)

from mammography import mammogram, tomosynthesis
from peers import require
from synthetic import Plane, cine, enhanced, radiograph, slices, stack

Frames = Callable[[int], NDArray[Any]]
"""From the number of a frame, from 0, to its stored values; the same array for frames that are alike."""

BRIGHT, DARK = 0.95, 0.3
"""Of the range of stored values."""


def spotted(
    shape: tuple[int, int], bits: int, spot: tuple[float, float], radius: float
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """A frame without the spot and one with it, (rows, columns) stored values of `bits` bits, with noise of 1 %.

    `spot` is the (row, column) of its middle, `radius` in pixels.
    """
    top = 2**bits - 1
    noise = np.random.default_rng(7).normal(0, 0.01, shape).astype(np.float32)
    plain = np.round(np.clip(DARK + noise, 0, 1) * top).astype(np.uint16)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    inside = (rows - spot[0]) ** 2 + (columns - spot[1]) ** 2 < radius**2
    with_spot = np.where(inside, np.round(np.clip(BRIGHT + noise, 0, 1) * top), plain).astype(np.uint16)
    return plain, with_spot


def in_frames(plain: NDArray[Any], with_spot: NDArray[Any], numbers: Sequence[int]) -> Frames:
    """Frames of which those with an index among `numbers` show the spot."""
    shown = set(numbers)
    return lambda index: with_spot if index in shown else plain


def film(pixels: NDArray[np.uint16], *, modality: str = "MG", bits: int = 12, side: str = "R") -> FileDataset:
    """One mammogram or radiograph with these stored values."""
    if modality != "MG":
        return radiograph(pixels, modality=modality, bits=bits, spacing=(0.139, 0.139))  # type: ignore[arg-type]
    data = mammogram(side, "CC", shape=(16, 16))  # type: ignore[arg-type]
    data.ImagerPixelSpacing = ["0.07", "0.07"]
    data.WindowCenter, data.WindowWidth = str(2 ** (bits - 1)), str(2**bits)
    _describe(data, pixels, bits)
    return data


def breast_volume(shape: tuple[int, int], count: int, *, spacing: str = "0.1", side: str = "R") -> FileDataset:
    """The data set of a tomosynthesis of `count` planes of `shape`, 1 mm apart, with places; without Pixel Data."""
    data = tomosynthesis(side, "CC", count=count)  # type: ignore[arg-type]
    data.Rows, data.Columns = shape
    shared = data.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence[0].PixelSpacing = [spacing, spacing]
    del data.PixelData
    return data


def write_large(data: Dataset, frames: Frames, count: int, syntax: UID, path: Path, *, extended: bool = False) -> Path:
    """Write an instance with these frames in a transfer syntax, frame by frame; `extended` with the table of 64 bits.

    `data` says how the frames are stored; it gets no Pixel Data itself.
    """
    data = deepcopy(data)
    data.pop("PixelData", None)
    data.file_meta.TransferSyntaxUID = syntax
    if count > 1:
        data.NumberOfFrames = count
    if syntax == DeflatedExplicitVRLittleEndian:
        return _write_deflated(data, frames, count, path)
    sizes: list[int] = []
    if syntax.is_encapsulated:
        encoded = _Encoder(data, syntax)
        sizes = [len(encoded(frames(index))) for index in range(count)]
        if extended:
            offsets = np.concatenate([[0], np.cumsum(np.array([size + size % 2 + 8 for size in sizes[:-1]], "<u8"))])
            data.ExtendedOffsetTable = offsets.astype("<u8").tobytes()
            data.ExtendedOffsetTableLengths = np.array(sizes, "<u8").tobytes()
    header = io.BytesIO()
    dcmwrite(header, data, enforce_file_format=True)
    with path.open("wb") as file:
        file.write(header.getvalue())
        if syntax.is_encapsulated:
            file.write(struct.pack("<2H2s2xL", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF))
            file.write(struct.pack("<2HL", 0xFFFE, 0xE000, 0))
            for index in range(count):
                content = encoded(frames(index))
                file.write(struct.pack("<2HL", 0xFFFE, 0xE000, len(content) + len(content) % 2))
                file.write(content + b"\0" * (len(content) % 2))
            file.write(struct.pack("<2HL", 0xFFFE, 0xE0DD, 0))
        else:
            _write_native(file, data, frames, count)
    return path


class _Encoder:
    """Encodes each distinct frame once."""

    def __init__(self, data: Dataset, syntax: UID) -> None:
        self._data, self._syntax = data, syntax
        self._made: dict[int, bytes] = {}
        self._kept: list[NDArray[Any]] = []

    def __call__(self, frame: NDArray[Any]) -> bytes:
        if id(frame) not in self._made:
            self._made[id(frame)] = self._encoded(frame)
            self._kept.append(frame)  # or another may get its id
        return self._made[id(frame)]

    def _encoded(self, frame: NDArray[Any]) -> bytes:
        data = self._data
        if self._syntax == JPEGBaseline8Bit:
            buffer = io.BytesIO()
            Image.fromarray(frame).save(buffer, "JPEG", quality=90, subsampling=1 if frame.ndim == 3 else -1)
            return buffer.getvalue()
        if self._syntax == JPEGLosslessSV1:
            return _by_dcmtk(data, frame)
        return get_encoder(self._syntax).encode(
            frame,
            rows=frame.shape[0],
            columns=frame.shape[1],
            number_of_frames=1,
            samples_per_pixel=1 if frame.ndim == 2 else 3,
            bits_allocated=data.BitsAllocated,
            bits_stored=data.BitsStored,
            pixel_representation=data.PixelRepresentation,
            photometric_interpretation=data.PhotometricInterpretation,
            **({} if frame.ndim == 2 else {"planar_configuration": 0}),
        )


def _by_dcmtk(data: Dataset, frame: NDArray[Any]) -> bytes:
    """A frame in JPEG Lossless, which pydicom's plugins can't write."""
    program = require("dcmcjpeg", "dcmtk")
    single = deepcopy(data)
    single.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    single.pop("NumberOfFrames", None)
    single.PixelData = frame.astype(f"<u{frame.itemsize}").tobytes()
    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder) / "plain.dcm", Path(folder) / "made.dcm"
        single.save_as(plain, enforce_file_format=True)
        subprocess.run([program, "+e1", plain, made], check=True, capture_output=True)
        return next(generate_frames(dcmread(made).PixelData, number_of_frames=1))


def _write_native(file: BinaryIO, data: Dataset, frames: Frames, count: int) -> None:
    size = sum(frames(index).nbytes for index in range(count))
    file.write(struct.pack("<2H2s2xL", 0x7FE0, 0x0010, b"OB" if data.BitsAllocated == 8 else b"OW", size + size % 2))
    for index in range(count):
        file.write(np.ascontiguousarray(frames(index)))
    file.write(b"\0" * (size % 2))


def _write_deflated(data: Dataset, frames: Frames, count: int, path: Path) -> Path:
    whole = io.BytesIO()
    with_all_meta = deepcopy(data)
    with_all_meta.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(whole, with_all_meta, enforce_file_format=True)
    start = _start_of_data_set(whole.getvalue())
    meta = deepcopy(with_all_meta.file_meta)
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    head = DicomBytesIO()
    write_file_meta_info(head, meta)
    _write_native(whole, data, frames, count)
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    with path.open("wb") as file:
        file.write(whole.getvalue()[:132] + head.getvalue())
        file.write(packer.compress(whole.getbuffer()[start:]))
        file.write(packer.flush())
    return path


def _start_of_data_set(file: bytes) -> int:
    """Behind the File Meta Information, whose length its first element says (PS3.10 section 7.1)."""
    (length,) = struct.unpack_from("<L", file, 140)
    return int(144 + length)


def _describe(data: Dataset, pixels: NDArray[Any], bits: int) -> None:
    data.Rows, data.Columns = pixels.shape[:2]
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1


def run(
    kind: str, count: int, plain: NDArray[np.uint16], shown: NDArray[np.uint16]
) -> tuple[FileDataset, tuple[NDArray[Any], NDArray[Any]]]:
    """A run of an angiograph (XA) or of ultrasound (RGB, YBR_FULL_422), and its two frames as they are stored."""
    grey = plain.astype(np.uint8), shown.astype(np.uint8)
    colour = kind != "XA"
    stored = tuple(np.repeat(frame[..., None], 3, axis=-1) if colour else frame for frame in grey)
    data = cine(stored[0][:1, :2][None])
    data.Rows, data.Columns = plain.shape
    data.NumberOfFrames = count
    del data.PixelData
    if kind == "XA":
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.12.1")
        data.Modality = "XA"
        data.PixelIntensityRelationship, data.RadiationSetting = "LOG", "GR"
    elif kind != "RGB":
        data.PhotometricInterpretation = kind
        data.LossyImageCompression = "01"
    return data, (stored[0], stored[1])


def sectional_volume(shape: tuple[int, int], count: int, modality: str) -> FileDataset:
    """The data set of an enhanced CT or MR of `count` slices of `shape`, 0.6 mm apart; without Pixel Data."""
    planes = stack(count, shape, spacing=(0.7, 0.7), distance=0.6)
    data = enhanced(np.zeros((count, 2, 2)), planes, modality=modality)  # type: ignore[arg-type]
    data.Rows, data.Columns = shape
    _of_range(data)
    data.BitsStored, data.HighBit = 12, 11
    del data.PixelData
    return data


def _of_range(data: Dataset) -> None:
    """Values are shown from 0 to 4095, as they are stored."""
    shared = data.SharedFunctionalGroupsSequence[0]
    shared.FrameVOILUTSequence[0].WindowCenter, shared.FrameVOILUTSequence[0].WindowWidth = "2048", "4096"
    for groups in data.PerFrameFunctionalGroupsSequence:
        groups.PixelValueTransformationSequence[0].RescaleIntercept = "0"


def write_series(folder: Path, planes: Sequence[Plane], frames: Frames) -> list[Path]:
    """A CT of single frames of 12 bits, one file a slice."""
    (first,) = slices(np.zeros((1, 2, 2)), planes[:1], window=(2048, 4096), rescale=(1.0, 0.0), shuffled=False)
    first.Rows, first.Columns = planes[0].shape
    uid, paths = str(first.SOPInstanceUID), []
    for number, plane in enumerate(planes, 1):
        first.SOPInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = f"{uid[:50]}.{number}"
        first.InstanceNumber, first.ImagePositionPatient = number, [f"{place:.9g}" for place in plane.position]
        first.PixelData = frames(number - 1).tobytes()
        paths.append(folder / f"{number:05d}.dcm")
        first.save_as(paths[-1], enforce_file_format=True)
    return paths
