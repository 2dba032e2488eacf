"""A model and its autoencoder on one grid: pictures to latents and back, and gradients carried along."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import ArtefactMissing, WhyRayError
from whyray.explain.case import Case
from whyray.explain.companion_grid import on_grid_of, resampled
from whyray.inference import Autoencoder, Model
from whyray.packages import graph_digest


class LatentSpace:
    """Latents of pictures (N, *spatial) in 0..1 as displayed, on the input grid of the explained model.

    Where `behind` is given, an image as it is displayed and where it is valid, everything decoded shows that image
    wherever it is not valid: padding stays padding, and no gradient comes from there.

    Raises ArtefactMissing where the model has no autoencoder beside it, PackageError where what is named is none, and
    ExplanationError where the two don't show the same field of view.
    """

    def __init__(
        self,
        model: Model,
        *,
        method: str,
        reference: str | None = None,
        behind: tuple[FloatArray, NDArray[np.bool_]] | None = None,
    ) -> None:
        self.model = model
        self.method = method
        self._behind = behind
        self.autoencoder = Autoencoder(model.companion("autoencoder", method=method, reference=reference))
        self._theirs(np.zeros((1, *model.spatial_shape), np.float32))

    @property
    def identity(self) -> str:
        """The autoencoder's NAME@VERSION and the digest of its graph, for the parameters of an explanation.

        Of the graph, not of the package: a card that is written anew draws the same pictures.
        """
        model = self.autoencoder.model
        digest = model.once(("graph digest",), lambda: graph_digest(model))
        return f"{model.identity} {digest[:12]}"

    def encode(self, pictures: FloatArray) -> FloatArray:
        """(N, D) latents."""
        return self.autoencoder.encode(self._theirs(pictures))

    def decode(self, latents: FloatArray) -> FloatArray:
        """(N, *spatial) pictures on the model's grid."""
        pictures = resampled(self.autoencoder.decode(latents), self.model.spatial_shape)
        if self._behind is None:
            return pictures
        image, valid = self._behind
        return np.where(valid, pictures, image).astype(np.float32)

    def pulled_back(self, latents: FloatArray, gradients: FloatArray) -> FloatArray:
        """(N, D): d score / d latents from d score / d picture (N, *spatial) at decode(latents), by the chain rule.

        Raises TierMissing where the decoder can't be differentiated and has no verified twin.
        """
        at_theirs = gradients.astype(np.float64)
        if self._behind is not None:
            at_theirs = at_theirs * self._behind[1]
        for axis, matrix in enumerate(self._resampling, start=1):
            at_theirs = np.moveaxis(np.tensordot(at_theirs, matrix, axes=([axis], [0])), -1, axis)
        return self.autoencoder.pullback(latents, np.ascontiguousarray(at_theirs, np.float32))

    @property
    def _resampling(self) -> tuple[NDArray[np.float64], ...]:
        """For each axis the matrix (ours, theirs) of `resampled`, which is linear and separable."""
        axes = zip(self.model.spatial_shape, self.autoencoder.shape, strict=True)
        return tuple(_resampling_matrix(theirs, ours) for ours, theirs in axes)

    def _theirs(self, pictures: FloatArray) -> FloatArray:
        return on_grid_of(pictures, self.model, self.autoencoder.model, method=self.method)


@lru_cache(maxsize=16)
def _resampling_matrix(theirs: int, ours: int) -> NDArray[np.float64]:
    matrix = np.array(resampled(np.eye(theirs, dtype=np.float32), (ours,)).T, np.float64)
    matrix.setflags(write=False)
    return matrix


def space_of(case: Case, *, method: str, reference: str | None = None) -> LatentSpace:
    """The latents of one case's image; what is padding in it stays as it is."""
    valid = case.context.valid
    behind = None if valid is None else (case.display, valid)
    return LatentSpace(case.model, method=method, reference=reference, behind=behind)


def why_no_latents(model: Model, *, method: str) -> WhyRayError | None:
    """What keeps this model from having latents, as the error to raise; None for nothing."""
    try:
        LatentSpace(model, method=method)
    except ArtefactMissing as error:
        return ArtefactMissing(
            error.message,
            advice=f"{error.advice} `python -m whyray_training.cxr_autoencoder` shows how one is trained.",
        )
    except WhyRayError as error:
        return error
    return None
