"""Which way an image's rows and columns run in the patient: Patient Orientation (0020,0020), given or derived."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue

from whyray.imaging.functional_groups import group_item
from whyray.imaging.source import Affine, SourceFrame, SourceImage

DIRECTIONS = {
    "L": (1, 0, 0),
    "R": (-1, 0, 0),
    "P": (0, 1, 0),
    "A": (0, -1, 0),
    "H": (0, 0, 1),
    "F": (0, 0, -1),
}
_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "H": "F", "F": "H"}
_LEAST_SHARE = 0.2
"""A direction is named by the axes that make up at least this share (a cosine) of it."""


def patient_orientation(header: Dataset) -> tuple[str, str] | None:
    """(direction of rows, direction of columns) as a data set says, for bipeds; None where it does not."""
    value = header.get("PatientOrientation")
    if not isinstance(value, (list, tuple, MultiValue)) or len(value) != 2:
        return None
    row, column = (str(direction).strip().upper() for direction in value)
    if not row or not column or set(row + column) - set(_OPPOSITE):
        return None
    return row, column


def frame_orientation(frame: SourceFrame, header: Dataset) -> tuple[str, str] | None:
    """The orientation of a frame: from its position in the patient where it has one, else as the source says."""
    if frame.to_patient is not None:
        return derived_orientation(frame.to_patient)
    # Enhanced projections say it frame by frame (PS3.3 C.7.6.16.2.15), others of all frames.
    group = group_item(header, frame.frame_number, "PatientOrientationInFrameSequence")
    return (None if group is None else patient_orientation(group)) or patient_orientation(header)


def grid_directions(image: SourceImage) -> tuple[str, str] | None:
    """Where rows and columns of a planar grid grow to in the patient; None for volumes and silent sources."""
    orientation = None if image.kind == "volume" else frame_orientation(image.frames[0], image.header)
    return None if orientation is None else (orientation[1], orientation[0])


def derived_orientation(to_patient: Affine) -> tuple[str, str]:
    """Patient Orientation of a frame from its affine (PS3.3 C.7.6.1.1.1): letters in order of their share."""
    return _letters(to_patient[:3, 0]), _letters(to_patient[:3, 1])


def opposite(letters: str) -> str:
    """The other side, e.g. 'LH' → 'RF'."""
    return "".join(_OPPOSITE[letter] for letter in letters)


def _letters(direction: np.ndarray) -> str:
    unit = direction / np.linalg.norm(direction)
    shares = sorted(((float(np.dot(unit, axis)), letter) for letter, axis in DIRECTIONS.items()), reverse=True)
    return "".join(letter for share, letter in shares if share >= _LEAST_SHARE)
