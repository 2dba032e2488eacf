"""A source image: frames with known geometry, their values, and the grid of a model's tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import GeometryError
from whyray.base.frame_array import Frames, Room
from whyray.base.nifti import nifti_image
from whyray.imaging.notes import Note

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from nibabel.nifti1 import Nifti1Image

MAPS_KEPT = 320 << 20
"""Bytes of maps at an image's size that stay in memory; slices beyond are sampled whenever they are needed."""

Affine = NDArray[np.float64]

EVEN = 0.01
"""mm. Slices that lie further from where an even stack would have them are no NIfTI volume."""


@dataclass(frozen=True)
class SourceFrame:
    """One frame of one instance.

    Attributes
    ----------
    sop_instance_uid
        Of the instance that holds the frame.
    frame_number
        1-based, as in Referenced Frame Number (0008,1160).
    shape
        (rows, columns).
    spacing
        (between rows, between columns) in mm; None where the source does not say.
    to_patient
        4 × 4, from (column index, row index, 0, 1) to (x, y, z, 1) in mm of the patient coordinate system: equation
        C.7.6.2.1-1 of PS3.3. None where the source has no position (projection radiographs, most ultrasound).
    aspect_ratio
        (vertical, horizontal) size of a pixel by Pixel Aspect Ratio (0028,0034), (1, 1) where the source gives none.
        A ratio and no length: nothing is measured in mm by it.
    """

    sop_instance_uid: str
    frame_number: int
    shape: tuple[int, int]
    spacing: tuple[float, float] | None
    to_patient: Affine | None
    aspect_ratio: tuple[float, float] = (1.0, 1.0)

    @property
    def pixel_shape(self) -> tuple[float, float]:
        """(height, width) of a pixel, in mm where the source gives a spacing, else by its aspect ratio alone."""
        return self.spacing or self.aspect_ratio

    @property
    def pixel_aspect(self) -> float:
        """Height over width of a pixel."""
        height, width = self.pixel_shape
        return height / width


@dataclass(frozen=True)
class SourceImage:
    """What one run of a model sees: one planar frame, or one volume of frames sorted along their normal.

    The arrays of an image that was read hold its pixels as they are stored: `image.modality[index]` makes a frame when
    it is asked for, `np.asarray(image.modality)` all of them.

    Attributes
    ----------
    kind
        `planar` (exactly one frame) or `volume` (two frames or more, each with `to_patient`).
    frames
        In the order of the first axis of the arrays below.
    headers
        SOP Instance UID → data set without pixel data, as received (character set and private tags included).
    modality
        (frames, rows, columns) float32 in modality units (after the modality LUT; HU for CT). For a colour image the
        luma (ITU-R BT.601) of `display`, in 0..255.
    display
        (frames, rows, columns) or (frames, rows, columns, 3) float32 in 0..1: what a viewer shows by default, after
        VOI LUT or window and photometric interpretation; 1 is white.
    padding
        (frames, rows, columns): True where Pixel Padding Value marks 'no image'.
    notes
        What a reader of the result must know of how the image was read (a window that was replaced, a gap between
        slices).
    digests
        SOP Instance UID → SHA-256 (hex) of the instance as received, header and pixels: UIDs alone don't tell whether
        two images are the same.
    stored
        (frames, rows, columns) as stored, which is what a Real World Value Mapping maps; None for a colour image, and
        for one that was not read.
    """

    kind: Literal["planar", "volume"]
    frames: tuple[SourceFrame, ...]
    headers: Mapping[str, Dataset]
    modality: Frames[np.float32]
    display: Frames[np.float32]
    padding: Frames[np.bool_]
    notes: tuple[Note, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    stored: Frames[Any] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, rows, columns)."""
        frames, rows, columns, *_ = self.modality.shape
        return frames, rows, columns

    @cached_property
    def room(self) -> Room:
        """For slices of maps over this image, at its size: two maps of 160 slices of 512 x 512 fit."""
        return Room(MAPS_KEPT)

    @cached_property
    def in_units(self) -> dict[str | None, Frames[np.float32]]:
        """`modality` by the unit that a package takes it in, as far as somebody asked: see `units.values_in_unit`."""
        return {}

    @cached_property
    def column_means(self) -> FloatArray:
        """(frames, columns): the mean of `display` down each column, of colours too."""
        grey = (shown if shown.ndim == 2 else shown.mean(axis=2) for shown in self.display)
        return np.asarray([shown.mean(axis=0) for shown in grey], np.float32)

    @property
    def header(self) -> Dataset:
        """The data set of the first frame's instance: study, series and patient level attributes."""
        return self.headers[self.frames[0].sop_instance_uid]

    @property
    def grid(self) -> ModelGrid:
        """The frames' own grid; GeometryError for a planar image, and where the slices are not one even stack."""
        affines = [frame.to_patient for frame in self.frames if frame.to_patient is not None]
        if self.kind != "volume" or len(affines) != len(self.frames):
            raise GeometryError("expected a volume, found a planar image: it has no grid in the patient")
        places = np.array([affine[:3, 3] for affine in affines])
        step = (places[-1] - places[0]) / (len(places) - 1)
        even = places[0] + step * np.arange(len(places))[:, None]
        turned = max(
            float(np.abs(affine[:3, :2] - affines[0][:3, :2]).max()) * max(self.shape[1:]) for affine in affines
        )
        off = max(turned, float(np.linalg.norm(places - even, axis=1).max()))
        if off > EVEN:
            raise GeometryError(
                f"expected slices that are one even stack, found some {off:.2g} mm from where they would be in one",
                advice="Bring them to a grid first: `to_model` does, and its tensor has one.",
            )
        to_patient = np.eye(4)
        to_patient[:3, :] = np.column_stack([step, affines[0][:3, 1], affines[0][:3, 0], places[0]])
        return ModelGrid(self.shape, to_patient)

    def to_nifti(self) -> Nifti1Image:
        """The volume's values in modality units as NIfTI; GeometryError as `grid`."""
        return nifti_image(np.asarray(self.modality), self.grid)

    def plot(self, frame: int | None = None) -> Figure:
        """A matplotlib figure of one frame as a viewer shows it, by its number from 0: the middle one by default."""
        from matplotlib.figure import Figure  # late: the service draws without it

        index = len(self.frames) // 2 if frame is None else frame
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(self.display[index], cmap="gray", vmin=0, vmax=1, aspect=self.frames[index].pixel_aspect)
        axes.set_title(f"frame {index + 1} of {len(self.frames)}")
        axes.set_axis_off()
        return figure

    @property
    def multi_frame_instance(self) -> str | None:
        """SOP Instance UID of the multi-frame instance that this planar frame is one of; None for all other images."""
        if self.kind == "volume" or int(self.header.get("NumberOfFrames") or 1) < 2:
            return None
        return self.frames[0].sop_instance_uid


@dataclass(frozen=True)
class ModelGrid:
    """The grid of a model's tensor, and the one affine that says where it lies.

    Attributes
    ----------
    shape
        Spatial shape of the tensor: (rows, columns) or (slices, rows, columns).
    to_reference
        Homogeneous, float64, of voxel centres. Planar, 3 × 3: (row, column) index of the grid → (row, column) index of
        the source frame. Volume, 4 × 4: (slice, row, column) index of the grid → (x, y, z) mm in patient coordinates.
    """

    shape: tuple[int, ...]
    to_reference: Affine


@dataclass(frozen=True)
class ModelInput:
    """The tensor of a model and where it came from.

    `tensor` is (1, channels, *grid.shape) float32 (or (1, *grid.shape, channels) for an NHWC package), in the scale
    that the manifest asks for. `valid` is True on grid voxels that lie inside the source (False in letterbox padding).
    """

    tensor: FloatArray
    grid: ModelGrid
    valid: BoolArray
