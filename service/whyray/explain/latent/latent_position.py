"""Where a case lies among the references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from whyray.base.errors import WhyRayError
from whyray.explain.case import Case
from whyray.explain.latent.embedding import required_embedding
from whyray.explain.latent.position import LatentPosition
from whyray.explain.latent.reference_index import KIND, PCA, UMAP, ReferenceIndex, index_of, missing
from whyray.explain.latent.space import percentile
from whyray.explain.latent.traversal import traversal
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.types import Kind, Tier
from whyray.inference import Model

Plane = Literal["best", "pca", "umap"]


class LatentPositionParameters(MethodParameters):
    """What is drawn.

    plane: `pca` (exact), `umap` (where the index has a layout), or the more trustworthy of both. steps: frames of the
    traversal, for packages with an autoencoder that was there when the index was made; 0 for none.
    """

    plane: Plane = "best"
    steps: int = Field(10, ge=0, le=64)


@register
class LatentPositionMethod(MethodDefaults):
    """The case among references in the model's embedding (Lee et al. 2018, eq. 2; Sun et al. 2022, section 3).

    Distances: Mahalanobis with a shrunk covariance, and to the k-th nearest neighbour; each with the share of held-out
    references that are nearer. The one that is told first is that which told planted outliers apart best when the
    index was made. The plane is drawn only where its neighbourhoods are those of the embedding (Venna and Kaski 2001).
    """

    name: ClassVar[str] = "latent-position"
    title: ClassVar[str] = "Place among reference cases"
    tier: ClassVar[Tier] = "T1"
    kind: ClassVar[Kind] = "latent space"
    unit: ClassVar[str] = "percentile"
    Parameters: ClassVar[type[MethodParameters]] = LatentPositionParameters

    def why_not(self, model: Model) -> WhyRayError | None:
        """The reference index, unless it is there and fits."""
        return missing(model, method=self.name)

    def explain_case(self, case: Case, parameters: LatentPositionParameters) -> Sequence[LatentPosition]:
        """The same place for all targets, beside what is known of the references about each; no forward pass."""
        index = index_of(case.model, method=self.name)
        vector = required_embedding(case.model, case.run)
        plane = _plane(index, parameters.plane)
        measured = {name: float(values[0]) for name, values in index.distances(vector[None]).items()}
        distances = {name: (value, percentile(value, index.usual[name])) for name, value in measured.items()}
        first = str(index.details["distance"])
        place = index.place(plane, vector)
        trust = float(index.details["trustworthiness"][plane])
        way = traversal(case, index, parameters.steps, self.name)
        return [
            LatentPosition(
                target=case.model.targets[target],
                method=self.name,
                parameters={**parameters.model_dump(), "plane": plane, KIND: index.short},
                evidence={**_evidence(index, plane), **way.evidence},
                references=index.planes[plane],
                position=(float(place[0]), float(place[1])),
                known=index.known[:, target],
                plane=plane,
                axes=_axes(index, plane),
                percentile=distances[first][1],
                distance_is=first,
                distances=distances,
                trustworthiness=trust,
                traversal=way.frames,
            )
            for target in case.targets
        ]


def _plane(index: ReferenceIndex, wanted: Plane) -> str:
    if wanted == "pca" or UMAP not in index.planes:
        return PCA
    if wanted == "umap":
        return UMAP
    trust = index.details["trustworthiness"]
    return UMAP if trust[UMAP] > trust[PCA] else PCA


def _axes(index: ReferenceIndex, plane: str) -> tuple[str, str]:
    if plane == UMAP:
        return "UMAP 1", "UMAP 2"
    shares = np.concatenate([index.space.explained, np.zeros(2, np.float32)])[:2]
    return f"PC 1 ({shares[0]:.0%})", f"PC 2 ({shares[1]:.0%})"


def _evidence(index: ReferenceIndex, plane: str) -> dict[str, float]:
    evidence = {"references": float(len(index)), "held-out references": float(index.held_out.sum())}
    if plane == UMAP:
        evidence["placement error"] = float(index.details["placement error"])
    return evidence
