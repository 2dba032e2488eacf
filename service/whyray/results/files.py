"""Results as files: DICOM to keep and send, PNG to look at."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from whyray.base.errors import ExplanationError
from whyray.base.stages import stage
from whyray.imaging import quiet
from whyray.results.answer import Result


@quiet()
@stage("DICOM encoding")
def encode(dataset: Dataset) -> bytes:
    """The DICOM file (PS3.10) of a result: the bytes to keep and send."""
    with BytesIO() as file:
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()


@stage("picture encoding")
def encoded_picture(picture: NDArray[np.uint8]) -> bytes:
    """A picture (rows, columns, 3) as the bytes of a PNG file."""
    with BytesIO() as file:
        Image.fromarray(picture).save(file, format="PNG")
        return file.getvalue()


def write_picture(result: Result, path: Path) -> None:
    """Write the result's picture as a PNG file.

    Raises
    ------
    ExplanationError
        If this kind of result has no picture of its own.
    """
    if result.picture is None:
        raise ExplanationError(
            f"result {result.dataset.SOPInstanceUID} ({result.kind}) has no picture",
            advice="Only Secondary Capture results have pictures.",
        )
    path.write_bytes(encoded_picture(result.picture))
