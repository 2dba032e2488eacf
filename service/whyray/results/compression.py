"""Lossless compression of results, for destinations that take it: the same object in another transfer syntax."""

from __future__ import annotations

from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from whyray.base.errors import ConfigError
from whyray.results.secondary_capture import MULTI_FRAME_TRUE_COLOUR, SINGLE_FRAME

COMPRESSIONS: dict[str, str] = {
    "jpeg-ls": str(JPEGLSLossless),
    "jpeg-2000": str(JPEG2000Lossless),
    "rle": str(RLELossless),
}
"""Names of compressions → transfer syntax UIDs."""


COMPRESSIBLE = frozenset({SINGLE_FRAME, MULTI_FRAME_TRUE_COLOUR})
"""SOP Classes of results that the standard has a compression for: only the pages of Secondary Capture.

Float maps have none (PS3.5 8.2), and the one bit of binary segmentations none that viewers know.
"""


def can_be_compressed(dataset: Dataset) -> bool:
    """Whether this result is of a class that can be compressed."""
    return dataset.SOPClassUID in COMPRESSIBLE


def compressed(file: bytes, compression: str) -> bytes:
    """A result's file with its pixels compressed; the file itself where that is not possible.

    The SOP Instance UID stays, since the pixels do. The same file gives the same bytes.

    Parameters
    ----------
    file
        From `encode`.
    compression
        A key of `COMPRESSIONS`.

    Raises
    ------
    ConfigError
        If there is no such compression.
    """
    if compression not in COMPRESSIONS:
        raise ConfigError(f"no compression {compression!r}; there are {', '.join(sorted(COMPRESSIONS))}")
    dataset = dcmread(BytesIO(file))
    if not can_be_compressed(dataset):
        return file
    if compression == "jpeg-2000":
        # The reversible colour transform, which multi-frame true colour demands: PS3.3 A.8.5.4 and PS3.5 8.2.4.
        dataset.PhotometricInterpretation = "YBR_RCT"
    dataset.compress(COMPRESSIONS[compression], generate_instance_uid=False)
    with BytesIO() as made:
        dataset.save_as(made, enforce_file_format=True)
        return made.getvalue()
