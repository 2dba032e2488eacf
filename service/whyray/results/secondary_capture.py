"""Secondary Capture objects (PS3.3 A.8): pages as colour images that any viewer shows.

A page alone is kept in a palette where that shows the same; objects of several frames are true colour by their class.

Not by highdicom's SCImage, which in 0.28.2 makes images of one frame only (sc/sop.py:229), dates them by the clock
(sc/sop.py:313) and says of each that it came from a digital interface (sc/sop.py:310).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage, SecondaryCaptureImageStorage

from whyray.imaging import SourceFrame, SourceImage, frame_orientation
from whyray.results.answer import Answer
from whyray.results.coding import LONGEST_SHORT_TEXT, dcm, item, one_value
from whyray.results.header import add_anatomy, add_lossy, local_time, new_dataset, recognisable
from whyray.results.multi_frame import is_frame_stack
from whyray.results.page import Page
from whyray.results.palette import InPalette, in_palette
from whyray.results.references import SOURCE_FOR_PROCESSING, add_referenced_series, source_image_items
from whyray.results.series import separated
from whyray.results.templates import Templates
from whyray.results.uids import UidSource

SINGLE_FRAME = SecondaryCaptureImageStorage
MULTI_FRAME_TRUE_COLOUR = MultiFrameTrueColorSecondaryCaptureImageStorage
_CHANNELS = ("Red", "Green", "Blue")
_SIXTEEN_BITS = 257
"""By which an entry of 8 bits becomes one of 16: 255 to 65535."""
_DERIVATION = dcm("112187", "Unspecified method of calculation")


def secondary_capture(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    pages: Sequence[Page],
    *,
    key: Sequence[str],
    instance_number: int,
    description: str,
    kind: Literal["sc", "cine"] = "sc",
    multi_frame: bool = False,
    frame_time: float | None = None,
    labels: Sequence[str] | None = None,
) -> Dataset:
    """One object of one page, or with `multi_frame` of several pages of equal size.

    `key` names what is on the pages, for the UID; `description` says it in words. `frame_time`: ms a frame, for pages
    that viewers play as a cine (PS3.3 C.7.6.5); None for pages to be leafed through, which `labels` name.
    """
    made = new_dataset(
        answer,
        templates,
        uids,
        kind=kind,
        sop_class_uid=MULTI_FRAME_TRUE_COLOUR if multi_frame else SINGLE_FRAME,
        sop_instance_uid=uids.uid(kind, *key),
        instance_number=instance_number,
    )
    image = answer.image
    at = local_time(answer)
    made.ConversionType = "WSD"
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
    made.SecondaryCaptureDeviceManufacturer = templates.equipment.manufacturer
    made.SecondaryCaptureDeviceManufacturerModelName = templates.equipment.model
    made.SecondaryCaptureDeviceSoftwareVersions = made.SoftwareVersions
    add_anatomy(made, image.header)
    made.ImageType = ["DERIVED", "SECONDARY"]
    if answer.in_study is not None:
        description += f", {answer.in_study.label}"
    made.ImageComments = one_value(separated(description, image.header), LONGEST_SHORT_TEXT)
    made.DerivationDescription = made.ImageComments
    made.DerivationCodeSequence = [item(_DERIVATION)]
    shown = sorted({panel.frame for page in pages for panel in page.panels if panel.frame is not None})
    of_none = any(panel.frame is None for page in pages for panel in page.panels)
    frames = [image.frames[index] for index in shown] or list(image.frames if of_none else image.frames[:1])
    if is_frame_stack(image):
        frames = list(image.frames)  # a page of words alone is about its frame too
    made.SourceImageSequence = source_image_items(image, frames, SOURCE_FOR_PROCESSING, locations_preserved="NO")
    add_referenced_series(made, image)
    made.BurnedInAnnotation = "YES"
    made.RecognizableVisualFeatures = recognisable(answer) if any(page.panels for page in pages) else "NO"
    orientation = _orientation(image, frames)
    made.PatientOrientation = list(orientation) if orientation and pages[0].panels and not of_none else None
    add_lossy(made, answer, required=False)
    in_colours = None if multi_frame else in_palette(pages[0].picture)
    if in_colours is not None:
        _add_palette(made, in_colours)
    else:
        _add_pixels(made, pages, labels, multi_frame=multi_frame, frame_time=frame_time)
    return made


def shown_in(capture: Dataset) -> NDArray[np.uint8]:
    """(rows, columns, 3): the first frame of an object that `secondary_capture` made, as a viewer shows it."""
    shape = int(capture.Rows), int(capture.Columns)
    pixels = np.frombuffer(capture.PixelData, np.uint8)
    if int(capture.SamplesPerPixel) == 3:
        return pixels[: 3 * shape[0] * shape[1]].reshape(*shape, 3)
    tables = [np.frombuffer(capture[f"{name}PaletteColorLookupTableData"].value, "<u2") for name in _CHANNELS]
    colours = (np.stack(tables, axis=1) // _SIXTEEN_BITS).astype(np.uint8)
    return colours[pixels[: shape[0] * shape[1]].reshape(shape)]


def _orientation(image: SourceImage, frames: Sequence[SourceFrame]) -> tuple[str, str] | None:
    """Of the first frame; of planar frames that are turned differently, none."""
    told = [frame_orientation(frame, image.headers[frame.sop_instance_uid]) for frame in frames]
    return told[0] if image.kind == "volume" or len(set(told)) == 1 else None


def _add_palette(made: Dataset, picture: InPalette) -> None:
    """Entries of 16 bits, as most readers want them (PS3.3 C.7.6.3.1.5)."""
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "PALETTE COLOR"
    _add_shape(made, picture.indices)
    for channel, name in enumerate(_CHANNELS):
        made[f"{name}PaletteColorLookupTableDescriptor"] = DataElement(
            f"{name}PaletteColorLookupTableDescriptor", "US", [len(picture.colours), 0, 16]
        )
        table = picture.colours[:, channel].astype("<u2") * _SIXTEEN_BITS
        setattr(made, f"{name}PaletteColorLookupTableData", table.tobytes())
    _add_bytes(made, picture.indices)


def _add_shape(made: Dataset, picture: NDArray[np.uint8]) -> None:
    made.Rows, made.Columns = picture.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0


def _add_bytes(made: Dataset, pixels: NDArray[np.uint8]) -> None:
    data = pixels.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB"


def _add_pixels(
    made: Dataset,
    pages: Sequence[Page],
    labels: Sequence[str] | None,
    *,
    multi_frame: bool,
    frame_time: float | None,
) -> None:
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    _add_shape(made, pages[0].picture)
    if multi_frame:
        made.NumberOfFrames = len(pages)
        if frame_time is None:
            made.FrameIncrementPointer = 0x00182002  # Frame Label Vector
            made.FrameLabelVector = list(labels or (f"page {number}" for number in range(1, len(pages) + 1)))
        else:
            made.FrameIncrementPointer = 0x00181063  # Frame Time
            made.FrameTime = frame_time
            made.RecommendedDisplayFrameRate = max(1, round(1000 / frame_time))
    _add_bytes(made, np.stack([page.picture for page in pages]))
