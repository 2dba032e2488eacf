"""What explanation methods say: typed values, never pages. Heatmap is one type; `typed.py` is common to the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.nifti import GridInPatient, nifti_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from nibabel.nifti1 import Nifti1Image

Tier = Literal["T0", "T1", "T2"]
"""What a method needs of a model: T0 its answers alone, T1 inner activations from the same graph, T2 gradients."""

Kind = Literal[
    "attribution map",
    "case-based",
    "concept attribution",
    "concept learning",
    "counterfactual",
    "language description",
    "latent space",
    "anatomical prior",
    "internal representation",
]
"""The nine types of interpretability of Salahuddin et al. 2022 (arXiv 2111.02398)."""


@dataclass(frozen=True)
class Heatmap:
    """A float array on the model's input grid that says how much each place counted for one target.

    Attributes
    ----------
    values
        float32, the spatial shape of the model's input. Unsigned maps are ≥ 0; signed maps keep their sign
        (positive: for the target, negative: against it). Never normalised: the unit is `unit`.
    target
        Name of the explained target.
    method
        Kebab-case name of the method.
    signed
        Whether negative values mean something.
    unit
        What one unit of `values` is, e.g. 'logit', 'logit per activation', 'probability'.
    layer
        The tensor whose activations were used; None for methods that use none.
    parameters
        All parameters in force, defaults included.
    evidence
        Self-checks of the method, by name: e.g. {'completeness_gap': 0.003}.
    """

    values: NDArray[np.float32]
    target: str
    method: str
    signed: bool
    unit: str
    layer: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the method is called for people."""
        from whyray.explain.registry import method_title  # late: methods are made of heatmaps

        return method_title(self.method)

    def plot(self, image: NDArray[Any] | None = None) -> Figure:
        """A matplotlib figure of the map, over `image` (its shape, or the model's input) where one is given.

        Of a volume the slice that counts most. `heatmap.plot(x).savefig("why.png")`.
        """
        from whyray.explain.figure import heatmap_figure

        return heatmap_figure(self, image)

    def to_nifti(self, grid: GridInPatient) -> Nifti1Image:
        """The map of a volume as NIfTI, in `unit`; `grid` is that of the model's input: `to_model(…).grid`.

        It lies where the source lies: `nibabel.save(heatmap.to_nifti(given.grid), "why.nii.gz")`. Raises GeometryError
        for a planar image, which has no place in the patient.
        """
        image = nifti_image(self.values, grid)
        image.header["descrip"] = f"{self.target}, {self.method}, {self.unit}".encode("ascii", "replace")[:79]
        return image

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        from whyray.explain.figure import heatmap_html

        return heatmap_html(self)
