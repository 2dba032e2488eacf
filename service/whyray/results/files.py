"""Results as files: DICOM to keep and send, PNG to look at."""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset

from whyray.base.errors import ExplanationError
from whyray.base.stages import stage
from whyray.imaging import quiet
from whyray.results.answer import Result
from whyray.results.encoding import encoded_file
from whyray.results.png import png_file


@quiet()
@stage("DICOM encoding")
def encode(dataset: Dataset) -> bytes:
    """The DICOM file (PS3.10) of a result: the bytes to keep and send."""
    return encoded_file(dataset)


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
    path.write_bytes(png_file(result.picture))
