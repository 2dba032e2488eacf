"""Opens an image instance: checks that its header can be read, and leaves its pixels in the file until asked for."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.uid import (
    UID,
    ConfocalMicroscopyTiledPyramidalImageStorage,
    ParametricMapStorage,
    RTDoseStorage,
    SegmentationStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from whyray.base.errors import DecodeError, ImageError, ResourceExhausted, WhyRayError
from whyray.base.failures import raise_unreadable
from whyray.base.sop_classes import LABEL_MAP_SEGMENTATION_STORAGE
from whyray.imaging.attributes import attribute_name, decimal_numbers, unreadable_attribute, whole_number, written_value
from whyray.imaging.digest import digest_of
from whyray.imaging.geometry import pixel_aspect_ratio
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.pixel_description import pixel_description
from whyray.imaging.pixel_spacing import pixel_spacing
from whyray.imaging.pixels_in_file import PixelsInFile, pixels_in_file

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

DERIVED_CLASSES = {
    SegmentationStorage: "Segmentation",
    LABEL_MAP_SEGMENTATION_STORAGE: "Label Map Segmentation",
    ParametricMapStorage: "Parametric Map",
    RTDoseStorage: "RT Dose",
}
"""SOP classes whose pixels are not an image of the patient; no model runs on them."""

TILED_CLASSES = {
    VLWholeSlideMicroscopyImageStorage: "VL Whole Slide Microscopy Image",
    ConfocalMicroscopyTiledPyramidalImageStorage: "Confocal Microscopy Tiled Pyramidal Image",
}
"""SOP classes whose frames are tiles of one picture: nothing right can be said of a tile by itself."""

PIXEL_GROUP = 0x7FE0

SAME_RATIO = 0.01
"""A Pixel Aspect Ratio that differs by less than this share from that of the spacing is the same, rounded."""

LARGEST_IMAGE = 2**32
"""Pixels. A header that promises more is taken for damage, before memory is asked for."""

_MAGNIFICATION = "EstimatedRadiographicMagnificationFactor"

_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Instance:
    """An image instance: `header` without pixel data, `source` to take the pixels from later.

    `notes` say what of the header could not be used as it was.
    """

    source: Path | Dataset
    header: Dataset
    notes: tuple[Note, ...] = ()

    @property
    def uid(self) -> str:
        """SOP Instance UID."""
        return str(self.header.SOPInstanceUID)

    @property
    def series(self) -> str:
        """Series Instance UID."""
        return str(self.header.SeriesInstanceUID)

    @property
    def sop_class(self) -> UID:
        """SOP Class UID."""
        return UID(self.header.SOPClassUID)

    @property
    def modality(self) -> str:
        """Modality (0008,0060), empty where absent."""
        return text(self.header, "Modality")

    @property
    def frame_count(self) -> int:
        """Number of Frames (0028,0008), 1 where absent."""
        return whole_number(self.header, "NumberOfFrames") or 1

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return int(self.header.Rows), int(self.header.Columns)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of what was read, header and pixels.

        Raises DecodeError when the file can't be read any more.
        """
        try:
            with quiet():
                return digest_of(self.source)
        except OSError as error:
            raise_unreadable(error, f"instance {self.uid}: its file")
            raise DecodeError(
                f"instance {self.uid}: expected the file that it was read from, found none that can be read "
                f"({type(error).__name__})"
            ) from error

    def with_pixels(self) -> Dataset:
        """Return the whole data set; read again from the file, so that a series is never in memory at once.

        Raises DecodeError when the file can't be read any more, and StorageUnavailable or ResourceExhausted when the
        machine refuses it.
        """
        return self._read(lambda path: (pydicom.dcmread(path, force=False), None))[0]

    def with_pixels_in_file(self) -> tuple[Dataset, PixelsInFile | None]:
        """As `with_pixels`, but where there is much of it, native Pixel Data stays in the file, and comes beside.

        Raises DecodeError when the file can't be read any more.
        """
        return self._read(lambda path: pixels_in_file(path) or (pydicom.dcmread(path, force=False), None))

    def _read(self, read: Callable[[Path], tuple[Dataset, PixelsInFile | None]]) -> tuple[Dataset, PixelsInFile | None]:
        if isinstance(self.source, Dataset):
            return self.source, None
        try:
            with quiet():
                return read(self.source)
        except MemoryError as error:
            raise ResourceExhausted(f"instance {self.uid}: not enough memory to read it") from error
        except Exception as error:  # pydicom raises what it likes on a damaged file
            raise_unreadable(error, f"instance {self.uid}: its file")
            raise DecodeError(
                f"instance {self.uid}: expected a file whose pixel data can be read, found one that ends early or "
                f"changed since it came ({type(error).__name__})"
            ) from error


def _what_it_may_be(source: Path | Dataset) -> str:
    from whyray.imaging.nifti import is_nifti  # late: it is made of this module's limits
    from whyray.imaging.picture import is_picture

    with suppress(OSError):
        if isinstance(source, Path):
            if is_picture(source):
                return "It is a picture: in Python, `read_images([wrap_picture(path)])` takes it."
            if is_nifti(source):
                return 'It is a NIfTI volume: in Python, `read_images(wrap_nifti(path, "CT").instances)` takes it.'
            with source.open("rb") as file:
                if file.read(len(_ZIP)) == _ZIP:
                    return "It is a ZIP archive: unpack it, and name the folder."
    return "The file may be truncated, or not DICOM at all."


def open_instance(source: Path | Dataset) -> Instance:
    """Read the header of one instance.

    Raises DecodeError for what is not a readable DICOM image instance, ImageError for objects that are no images,
    StorageUnavailable or ResourceExhausted for a file that the machine refuses to read.
    """
    try:
        with quiet():
            header = _header_of(source)
    except MemoryError as error:
        raise ResourceExhausted("not enough memory to read a header") from error
    except Exception as error:  # pydicom raises what it likes on nonsense
        raise_unreadable(error, "a file of the study")
        raise DecodeError(
            f"expected a DICOM file (PS3.10), found one that can't be parsed ({type(error).__name__})",
            advice=_what_it_may_be(source),
            in_service="Send the instance again.",
        ) from error
    with refusing_as_image_error("without a readable SOP Instance UID", header), quiet():
        uid = text(header, "SOPInstanceUID") or "without SOP Instance UID"
    with refusing_as_image_error(uid, header), quiet():
        _refuse_what_is_no_image(header, uid)
        # Looking at each value here makes one that can't be used this instance's refusal, not its series'.
        notes = _number_of_frames(header, uid) + _pixel_shape(header)
        _refuse_impossible_extent(header, uid)
        pixel_description(header)
        return Instance(source, header, notes)


def text(header: Dataset, keyword: str) -> str:
    """An attribute as stripped text; empty where absent or empty."""
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


@contextmanager
def refusing_as_image_error(uid: str, header: Dataset | None = None) -> Iterator[None]:
    """Turn whatever damaged data makes a library raise into an error that names the instance and the attribute.

    `header` is searched for an attribute that can't be read as its type; where all can, the place in WhyRay that met
    the value is named. What the library said is left out: it may quote the patient's attributes.
    """
    try:
        yield
    except WhyRayError:
        raise
    except MemoryError as error:
        raise ResourceExhausted(f"instance {uid}: not enough memory to read it") from error
    except Exception as error:  # of the data, as `header` will show
        raise_unreadable(error, f"instance {uid}: its file")
        wrong = None if header is None else unreadable_attribute(header)
        if wrong is not None:
            raise ImageError(f"instance {uid}: expected a usable value in {wrong}") from error
        raise ImageError(
            f"instance {uid}: its attributes contradict each other at {_place_of(error)} ({type(error).__name__})"
        ) from error


def _place_of(error: BaseException) -> str:
    """File and line of our own code that an error came through last."""
    root = Path(__file__).parents[1]
    ours = [
        frame_summary
        for frame_summary in traceback.extract_tb(error.__traceback__)
        if root in Path(frame_summary.filename).parents
    ]
    return f"{Path(ours[-1].filename).relative_to(root.parent)}:{ours[-1].lineno}" if ours else "an unknown place"


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings: they quote values, and a patient's name must not reach a log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _header_of(source: Path | Dataset) -> Dataset:
    if isinstance(source, Dataset):
        return _without_pixels(source)
    header = pydicom.dcmread(source, stop_before_pixels=True)
    # Damage shows up as a nonsense first element when nothing identifies the data as an instance.
    if "SOPInstanceUID" not in header and "SOPClassUID" not in header and len(header) == 0:
        raise ValueError("empty data set")
    return header


def _without_pixels(source: Dataset) -> Dataset:
    """A data set of the same raw elements and character set, without the pixel data's group; nothing is copied."""
    kind: Any = type(source)
    header = kind.__new__(kind)
    header.__dict__.update(source.__dict__)
    header._dict = {tag: element for tag, element in source._dict.items() if tag.group != PIXEL_GROUP}
    header._pixel_array, header._pixel_id = None, {}
    return header


def _refuse_what_is_no_image(header: Dataset, uid: str) -> None:
    sop_class = text(header, "SOPClassUID")
    if not sop_class:
        raise ImageError(f"instance {uid}: expected an image, found no SOP Class UID (a DICOMDIR or a damaged file)")
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not text(header, keyword):
            raise ImageError(f"instance {uid}: expected {keyword}, found none")
        if not isinstance(header.get(keyword), str):
            raise ImageError(
                f"instance {uid}: expected one UID in {attribute_name(keyword)}, found {written_value(header, keyword)}"
            )
    name = UID(sop_class).name
    if sop_class in DERIVED_CLASSES:
        raise ImageError(f"instance {uid}: expected an image of the patient, found a {DERIVED_CLASSES[sop_class]}")
    if sop_class in TILED_CLASSES or text(header, "DimensionOrganizationType").startswith("TILED"):
        tiled = TILED_CLASSES.get(sop_class) or (
            f"{name} with {attribute_name('DimensionOrganizationType')} "
            f"{written_value(header, 'DimensionOrganizationType')}"
        )
        raise ImageError(
            f"instance {uid}: expected whole images, found tiles of one ({tiled})",
            advice="Leave whole slides to software made for them.",
            in_service="Narrow the route's `when`.",
        )
    if "Rows" not in header or "Columns" not in header:
        if "Image" in name:
            raise DecodeError(f"instance {uid}: expected pixel data in a {name} object, found no Rows and Columns")
        raise ImageError(f"instance {uid}: expected an image, found {name}")


def _number_of_frames(header: Dataset, uid: str) -> tuple[Note, ...]:
    """Look at Number of Frames (0028,0008); one that says nothing leaves the header, so that no reader falls over it.

    How many frames there are is compared with the pixel data before they are decoded.
    """
    if "NumberOfFrames" not in header:
        return ()
    frames = whole_number(header, "NumberOfFrames")
    if frames is None or frames == 0:
        written = written_value(header, "NumberOfFrames")
        del header.NumberOfFrames
        words = f"{attribute_name('NumberOfFrames')}: found {written}; one frame was taken, as where it is absent"
        return (Note(NoteKind.ATTRIBUTE_IGNORED, words),)
    if frames < 0:
        raise ImageError(f"instance {uid}: expected frames in {attribute_name('NumberOfFrames')}, found {frames}")
    return ()


def _pixel_shape(header: Dataset) -> tuple[Note, ...]:
    """Look at what says how large a pixel is: a value that can't be one, or a ratio that the spacing contradicts."""
    notes, unusable = [], []
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        values = decimal_numbers(header, keyword)
        if values and (len(values) != 2 or not all(value is not None and value > 0 for value in values)):
            words = f"{attribute_name(keyword)} {written_value(header, keyword)} can't be the size of a pixel"
            unusable.append(f"{words}: passed over")
            # No reader further on shall fall over it, nor write it into a result.
            del header[keyword]
    factors = decimal_numbers(header, _MAGNIFICATION)
    if factors and (len(factors) != 1 or factors[0] is None or factors[0] < 1):
        words = f"{attribute_name(_MAGNIFICATION)} {written_value(header, _MAGNIFICATION)} can't be a magnification"
        notes.append(Note(NoteKind.ATTRIBUTE_IGNORED, f"{words}: passed over"))
    spacing, ratio = pixel_spacing(header, 1), pixel_aspect_ratio(header)
    kind = NoteKind.ATTRIBUTE_IGNORED if spacing else NoteKind.NO_PIXEL_SIZE
    notes += [Note(kind, words) for words in unusable]
    if spacing and ratio and abs(spacing[0] * ratio[1] / (spacing[1] * ratio[0]) - 1) > SAME_RATIO:
        words = (
            f"{attribute_name('PixelAspectRatio')} {written_value(header, 'PixelAspectRatio')} is not that of the "
            f"pixel spacing, {spacing[0]:g} by {spacing[1]:g} mm, which was used"
        )
        notes.append(Note(NoteKind.ATTRIBUTE_IGNORED, words))
    return tuple(notes)


def _refuse_impossible_extent(header: Dataset, uid: str) -> None:
    rows, columns = (whole_number(header, keyword) or 0 for keyword in ("Rows", "Columns"))
    frames = whole_number(header, "NumberOfFrames") or 1
    if min(rows, columns) < 1 or rows * columns * frames > LARGEST_IMAGE:
        raise DecodeError(f"instance {uid}: expected an image, found {frames} frames of {rows} x {columns}")
