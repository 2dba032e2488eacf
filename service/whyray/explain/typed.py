"""What explanations that are not heatmaps have in common; each type has its class in the room of its methods.

The types are those of interpretability in Salahuddin et al. 2022 (arXiv 2111.02398).

All of them say what they explain (`target`), by which method and with which parameters, and carry their method's own
self-checks as `evidence`. Arrays lie on the model's input grid. Pictures among the values are float32 in 0..1 as the
image is displayed, on that grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.coded_concept import CodedConcept
from whyray.base.nifti import GridInPatient, nifti_image
from whyray.explain.types import Heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from nibabel.nifti1 import Nifti1Image


@dataclass(frozen=True)
class MapPart:
    """A map that belongs to an explanation: what one prototype resembles, what a counterfactual changed.

    `values` (*spatial) float32; `name` tells it from the explanation's other maps; `signed` and `unit` as in Heatmap.
    """

    name: str
    values: FloatArray
    signed: bool
    unit: str

    def to_nifti(self, grid: GridInPatient) -> Nifti1Image:
        """The map of a volume as NIfTI, as `Heatmap.to_nifti`."""
        return nifti_image(self.values, grid)


@dataclass(frozen=True)
class Structure:
    """An anatomical structure: a mask (*spatial) on the model's input grid.

    `allowed`: whether the target may be looked for in it; None where nothing is said about that.
    """

    name: str
    mask: BoolArray
    code: CodedConcept | None = None
    laterality: CodedConcept | None = None
    allowed: bool | None = None

    def to_nifti(self, grid: GridInPatient) -> Nifti1Image:
        """The mask of a structure in a volume as NIfTI (uint8, 0 and 1), as `Heatmap.to_nifti`."""
        return nifti_image(self.mask, grid)


@dataclass(frozen=True, kw_only=True)
class TypedExplanation:
    """What all types have in common.

    `parameters` holds all parameters in force, and the artefacts and packages used with a digest of each.
    """

    target: str
    method: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def maps(self) -> tuple[MapPart, ...]:
        """Maps that results lay over the source image."""
        return ()

    @property
    def drift_numbers(self) -> Mapping[str, float]:
        """What of it is worth watching over time, by measure: a name in kebab-case, at most 32 characters."""
        return {}

    @property
    def structures(self) -> tuple[Structure, ...]:
        """Structures that results write as segments."""
        return ()

    def plot(self) -> Figure:
        """A matplotlib figure of what it says. Raises ExplanationError where it says it in words alone."""
        from whyray.explain.typed_figure import typed_figure

        return typed_figure(self)

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        from whyray.explain.typed_figure import typed_html

        return typed_html(self)


Explanation = Heatmap | TypedExplanation
"""Whatever a method says."""
