"""Lossless compression of results, for destinations that take it: the same object in another transfer syntax."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    ParametricMapStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from whyray.base.errors import ConfigError
from whyray.base.sop_classes import LABEL_MAP_SEGMENTATION_STORAGE

COMPRESSIONS: dict[str, str] = {
    "jpeg-2000": str(JPEG2000Lossless),
    "jpeg-ls": str(JPEGLSLossless),
    "rle": str(RLELossless),
    "deflate": str(DeflatedExplicitVRLittleEndian),
}
"""Names of compressions → transfer syntax UIDs."""

_PAGES = frozenset({SecondaryCaptureImageStorage, MultiFrameTrueColorSecondaryCaptureImageStorage})
"""Classes of which the pixels are compressed. Deflated as a whole they would be smaller than by JPEG-LS, but archives
give their frames to viewers as they lie, and OHIF 3.12 then shows none.

In a palette of 256 colours they would be smaller by half, but OHIF 3.12 may draw such an image black, before it has
fetched the colours (convertPALETTECOLOR of its dicom-image-loader waits for nobody).
"""
_DEFLATED = frozenset({SegmentationStorage, LABEL_MAP_SEGMENTATION_STORAGE, ParametricMapStorage})
"""Classes of which the data set as a whole is deflated (PS3.5 A.5).

Float maps have no compression of their pixels (PS3.5 8.2). The one bit of binary segmentations may go by RLE, but OHIF
3.12 (cornerstone's adapters) gives such a Segmentation up; it reads deflated ones.
"""


def compressions_of(sop_class_uid: str) -> frozenset[str]:
    """The names of compressions that results of this SOP Class can have; none for those that are small anyway."""
    if sop_class_uid in _PAGES:
        return frozenset(COMPRESSIONS) - {"deflate"}
    return frozenset({"deflate"}) if sop_class_uid in _DEFLATED else frozenset()


def compressed(file: bytes | Path, compression: str) -> bytes:
    """A result's file compressed; the file itself where its class has no such compression.

    The SOP Instance UID stays, since the pixels do. The same file gives the same bytes.

    Parameters
    ----------
    file
        From `encode`, or where that lies.
    compression
        A key of `COMPRESSIONS`.

    Raises
    ------
    ConfigError
        If there is no such compression.
    """
    if compression not in COMPRESSIONS:
        raise ConfigError(
            f"no compression {compression!r}; there are {', '.join(sorted(COMPRESSIONS))}", advice="Name one of these."
        )
    dataset: Dataset = dcmread(BytesIO(file) if isinstance(file, bytes) else file)
    if compression not in compressions_of(str(dataset.SOPClassUID)):
        return file if isinstance(file, bytes) else file.read_bytes()
    if compression == "deflate":
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    else:
        if compression == "jpeg-2000":
            # The reversible colour transform, which multi-frame true colour demands: PS3.3 A.8.5.4 and PS3.5 8.2.4.
            dataset.PhotometricInterpretation = "YBR_RCT"
        dataset.compress(COMPRESSIONS[compression], generate_instance_uid=False)
    with BytesIO() as made:
        dataset.save_as(made, enforce_file_format=True)
        return made.getvalue()


class LosslessCompression:
    """What delivery asks for, by transfer syntax UIDs, done in the process that asks."""

    def syntaxes(self, sop_class_uid: str, /) -> frozenset[str]:
        """Transfer syntax UIDs that results of this SOP Class can be compressed to."""
        return frozenset(COMPRESSIONS[name] for name in compressions_of(sop_class_uid))

    def compressed(self, file: bytes | Path, transfer_syntax_uid: str, /) -> bytes:
        """A result's file with its pixels compressed, without loss; the file, or where it lies."""
        (name,) = [name for name, uid in COMPRESSIONS.items() if uid == transfer_syntax_uid]
        return compressed(file, name)
