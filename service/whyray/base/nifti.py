"""Values on a grid in the patient as a NIfTI image, for the programs of those who do research."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whyray.base.errors import GeometryError

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Image

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's axes run towards left, back and head (PS3.3 C.7.6.2.1.1), NIfTI's towards right, front and head; its own
inverse."""

_SCANNER = 1
"""NIFTI_XFORM_SCANNER_ANAT: coordinates of the scanner, which those of DICOM are."""


class GridInPatient(Protocol):
    """A grid of voxels, and where they lie."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(slices, rows, columns)."""
        ...

    @property
    def to_reference(self) -> NDArray[np.float64]:
        """4 × 4: (slice, row, column) index → (x, y, z) in mm of the patient coordinate system."""
        ...


def nifti_image(values: NDArray[Any], grid: GridInPatient) -> Nifti1Image:
    """`values` (slices, rows, columns) as NIfTI-1 (columns, rows, slices), in mm, placed by `grid` (LPS → RAS).

    Boolean values become uint8. Raises GeometryError for a grid without a place in the patient, and for values that
    don't lie on it.
    """
    import nibabel  # late: it takes a third of a second, and nothing on the way of a study needs it

    if len(grid.shape) != 3:
        raise GeometryError(
            "expected a volume, found a planar image: a projection has no place in patient coordinates",
            advice="Take .values, or .plot() for a picture.",
        )
    if values.shape != tuple(grid.shape):
        raise GeometryError(f"expected values on a grid of {tuple(grid.shape)}, found {values.shape}")
    affine = LPS_TO_RAS @ grid.to_reference[:, [2, 1, 0, 3]]
    written = values.astype(np.uint8) if values.dtype == np.bool_ else values
    image = nibabel.Nifti1Image(np.ascontiguousarray(written.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, _SCANNER)
    # a qform holds no shear: where it would lie, it is left unsaid
    image.set_qform(affine, _SCANNER, strip_shears=True)
    if not np.allclose(image.get_qform(), affine, atol=1e-3):
        image.set_qform(None, 0)
    return image
