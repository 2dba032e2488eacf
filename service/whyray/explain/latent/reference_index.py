"""The artefact 'reference-index': what a model says of a site's reference images, and nothing about whose they are.

Arrays, by name (N references, D dimensions, T targets):

    embeddings (N, D) float32    answers (N, T) float32    logits (N, T) float32    known (N, T) int8: 1, 0, -1 nothing
    held_out (N,) bool           pictures (N, h, w) uint8, optional                pictured (N,) bool
    mean, basis, variances, explained    the Space of the references that are not held out
    umap (N, 2) float32          places on a layout of all of them, optional
    code_mean (Z,) float32       middle of their codes in the package's autoencoder, optional

References have no names but their number: case-0001 is the first. The order is that of a digest of the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import ArtefactMissing, PackageError, WhyRayError
from whyray.explain.latent.embedding import embedding_name, no_embedding
from whyray.explain.latent.plane import Placing, normed
from whyray.explain.latent.space import Space, neighbour_distance
from whyray.inference import Model
from whyray.packages import Artefact, artefact_paths, find_artefact

KIND = "reference-index"
MAHALANOBIS, NEIGHBOUR = "Mahalanobis", "k-th neighbour"
PCA, UMAP = "PCA", "UMAP"
_ROWS = ("answers", "logits", "known", "held_out", "pictured")
_NEEDED = ("embeddings", *_ROWS, "mean", "basis", "variances", "explained")


@dataclass(frozen=True)
class ReferenceIndex:
    """A reference index, ready to be searched. Arrays as in the artefact; `short` names it in an explanation."""

    short: str
    targets: tuple[str, ...]
    embeddings: FloatArray
    answers: FloatArray
    logits: FloatArray
    known: NDArray[np.int8]
    held_out: NDArray[np.bool_]
    pictured: NDArray[np.bool_]
    space: Space
    details: Mapping[str, Any]
    pictures: NDArray[np.uint8] | None = None
    synthetic: bool = False
    umap: FloatArray | None = None
    code_mean: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def name(self, number: int) -> str:
        """The opaque name of a reference, counted from 0."""
        return f"case-{number + 1:04}"

    def picture(self, number: int) -> FloatArray | None:
        """(h, w) in 0..1, or None where none is kept."""
        if self.pictures is None or not self.pictured[number]:
            return None
        return np.asarray(self.pictures[number] / np.float32(255), np.float32)

    @cached_property
    def normed(self) -> FloatArray:
        """(N, D): embeddings less the mean, of length 1."""
        return normed(self.space, self.embeddings)

    @cached_property
    def usual(self) -> dict[str, FloatArray]:
        """By name, (held-out references,): their distances from the others, what is usual."""
        return self.distances(self.embeddings[self.held_out])

    def distances(self, vectors: FloatArray) -> dict[str, FloatArray]:
        """By name: the distances of (N, D) embeddings from the fitting references."""
        fitting = self.normed[~self.held_out]
        return {
            MAHALANOBIS: self.space.mahalanobis(vectors),
            NEIGHBOUR: neighbour_distance(self.space.centred(vectors), fitting),
        }

    @cached_property
    def placing(self) -> Placing | None:
        """How cases come onto the UMAP layout; None without one."""
        return None if self.umap is None else Placing(self.normed, self.umap)

    @cached_property
    def planes(self) -> dict[str, FloatArray]:
        """By plane: (N, 2) places of all references."""
        planes = {PCA: self.space.coordinates(self.embeddings)}
        return planes if self.umap is None else {**planes, UMAP: self.umap}

    def place(self, plane: str, vector: FloatArray) -> FloatArray:
        """(2,): where a new case (D,) lies on a plane."""
        if plane == UMAP and self.placing is not None:
            return np.asarray(self.placing(normed(self.space, vector[None]))[0], np.float32)
        return np.asarray(self.space.coordinates(vector[None])[0], np.float32)


def from_artefact(artefact: Artefact) -> ReferenceIndex:
    """The index in an artefact; PackageError where arrays are missing or don't belong together."""
    arrays, facts = artefact.arrays, artefact.facts
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise PackageError(f"{artefact.path}: no {', '.join(missing)} in it", advice=_ADVICE)
    count = len(arrays["embeddings"])
    if any(len(arrays[name]) != count for name in _ROWS) or arrays["mean"].shape != arrays["embeddings"].shape[1:]:
        raise PackageError(f"{artefact.path}: arrays of different lengths", advice=_ADVICE)
    details = facts.details
    return ReferenceIndex(
        short=artefact.short,
        targets=tuple(details["targets"]),
        embeddings=arrays["embeddings"].astype(np.float32),
        answers=arrays["answers"],
        logits=arrays["logits"],
        known=arrays["known"],
        held_out=arrays["held_out"],
        pictured=arrays["pictured"],
        space=Space(
            mean=arrays["mean"],
            basis=arrays["basis"],
            variances=arrays["variances"],
            rest=float(details["rest"]),
            explained=arrays["explained"],
            shrinkage=float(details["shrinkage"]),
        ),
        details=details,
        pictures=arrays.get("pictures"),
        synthetic=facts.synthetic,
        umap=arrays.get("umap"),
        code_mean=arrays.get("code_mean"),
    )


def index_of(model: Model, *, method: str) -> ReferenceIndex:
    """The reference index of a package, read once; ArtefactMissing without one, PackageError where it does not fit."""
    path = next((candidate for candidate in artefact_paths(model, KIND) if candidate.is_file()), None)
    if path is None:
        raise ArtefactMissing(
            f"{method} needs the artefact {KIND!r}, and {model.identity} has none", advice=how_to_make(model)
        )
    return model.once((KIND, path, path.stat().st_mtime_ns), lambda: _read(model))


def missing(model: Model, *, method: str) -> WhyRayError | None:
    """Why a package has no usable index for a method; None where it has one."""
    if embedding_name(model) is None:
        return no_embedding(model)
    try:
        index_of(model, method=method)
    except (ArtefactMissing, PackageError) as error:
        return error
    return None


def how_to_make(model: Model) -> str:
    """What to type."""
    return f"`whyray package index {model.manifest.name} DIR` makes it of a folder of images."


def _read(model: Model) -> ReferenceIndex:
    artefact = find_artefact(model, KIND)
    assert artefact is not None  # index_of has seen the file
    index = from_artefact(artefact)
    if index.targets != model.targets:
        raise PackageError(f"{artefact.path}: of other targets than {model.identity} has", advice=_ADVICE)
    if model.task == "segmentation":
        return index
    # a calibration that was changed since the index was made changes what the model says of references, too
    return replace(index, answers=model.answer(index.logits))


_ADVICE = "Make it again with `whyray package index`."
