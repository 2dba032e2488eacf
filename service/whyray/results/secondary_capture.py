"""Secondary Capture objects (PS3.3 A.8): pages as RGB images that any viewer shows.

Not by highdicom's SCImage, which in 0.28.2 makes images of one frame only (sc/sop.py:229), dates them by the clock
(sc/sop.py:313) and says of each that it came from a digital interface (sc/sop.py:310).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage, SecondaryCaptureImageStorage

from whyray.imaging import SourceFrame, SourceImage, frame_orientation
from whyray.results.answer import Answer
from whyray.results.coding import LONGEST_SHORT_TEXT, dcm, item, one_value
from whyray.results.header import add_anatomy, add_lossy, local_time, new_dataset, recognisable
from whyray.results.multi_frame import is_frame_stack
from whyray.results.page import Page
from whyray.results.references import SOURCE_FOR_PROCESSING, add_referenced_series, source_image_items
from whyray.results.series import separated
from whyray.results.templates import Templates
from whyray.results.uids import UidSource

SINGLE_FRAME = SecondaryCaptureImageStorage
MULTI_FRAME_TRUE_COLOUR = MultiFrameTrueColorSecondaryCaptureImageStorage
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
    _add_pixels(made, pages, labels, multi_frame=multi_frame, frame_time=frame_time)
    return made


def _orientation(image: SourceImage, frames: Sequence[SourceFrame]) -> tuple[str, str] | None:
    """Of the first frame; of planar frames that are turned differently, none."""
    orientations = [frame_orientation(frame, image.headers[frame.sop_instance_uid]) for frame in frames]
    return orientations[0] if image.kind == "volume" or len(set(orientations)) == 1 else None


def _add_pixels(
    made: Dataset,
    pages: Sequence[Page],
    labels: Sequence[str] | None,
    *,
    multi_frame: bool,
    frame_time: float | None,
) -> None:
    rows, columns = pages[0].picture.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Rows, made.Columns = rows, columns
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    if multi_frame:
        made.NumberOfFrames = len(pages)
        if frame_time is None:
            made.FrameIncrementPointer = 0x00182002  # Frame Label Vector
            made.FrameLabelVector = list(labels or (f"page {number}" for number in range(1, len(pages) + 1)))
        else:
            made.FrameIncrementPointer = 0x00181063  # Frame Time
            made.FrameTime = frame_time
            made.RecommendedDisplayFrameRate = max(1, round(1000 / frame_time))
    pixels = np.stack([page.picture for page in pages]).tobytes()
    made.PixelData = pixels + b"\0" * (len(pixels) % 2)
    made["PixelData"].VR = "OB"


def picture_of(capture: Dataset) -> NDArray[np.uint8]:
    """The first frame of a capture, (rows, columns, 3), without a copy of its pixels."""
    shape = int(capture.Rows), int(capture.Columns), 3
    return np.frombuffer(capture.PixelData, np.uint8, count=math.prod(shape)).reshape(shape)
