"""A model and its autoencoder on one grid: pictures to latents and back, and gradients carried along."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.errors import ArtefactMissing, WhyRayError
from whyray.explain.companion_grid import on_grid_of, resampled
from whyray.models import Autoencoder, Model

FloatArray = NDArray[np.float32]


class LatentSpace:
    """Latents of pictures (N, *spatial) in 0..1 as displayed, on the input grid of the explained model.

    Raises ArtefactMissing where the model has no autoencoder beside it, PackageError where what is named is none, and
    ExplanationError where the two don't show the same field of view.
    """

    def __init__(self, model: Model, *, method: str, reference: str | None = None) -> None:
        self.model = model
        self.method = method
        self.autoencoder = Autoencoder(model.companion("autoencoder", method=method, reference=reference))
        self._theirs(np.zeros((1, *model.spatial_shape), np.float32))

    @property
    def identity(self) -> str:
        """The autoencoder's NAME@VERSION and digest, for the parameters of an explanation."""
        return f"{self.autoencoder.model.identity} {self.autoencoder.model.digest[:12]}"

    def encode(self, pictures: FloatArray) -> FloatArray:
        """(N, D) latents."""
        return self.autoencoder.encode(self._theirs(pictures))

    def decode(self, latents: FloatArray) -> FloatArray:
        """(N, *spatial) pictures on the model's grid."""
        return resampled(self.autoencoder.decode(latents), self.model.spatial_shape)

    def pulled_back(self, latents: FloatArray, gradients: FloatArray) -> FloatArray:
        """(N, D): d score / d latents from d score / d picture (N, *spatial) at decode(latents), by the chain rule.

        Raises TierMissing where the decoder has no verified twin.
        """
        import torch

        at_theirs = gradients.astype(np.float64)
        for axis, matrix in enumerate(self._resampling, start=1):
            at_theirs = np.moveaxis(np.tensordot(at_theirs, matrix, axes=([axis], [0])), -1, axis)
        device = self.autoencoder.device
        leaf = torch.from_numpy(np.ascontiguousarray(latents, np.float32)).to(device).requires_grad_(True)
        pictures: Any = self.autoencoder.decode_torch(leaf)
        seed = torch.from_numpy(np.ascontiguousarray(at_theirs, np.float32)).to(device)
        found: FloatArray = torch.autograd.grad(pictures, leaf, seed)[0].cpu().numpy()
        return found

    @cached_property
    def _resampling(self) -> tuple[NDArray[np.float64], ...]:
        """For each axis the matrix (ours, theirs) of `resampled`, which is linear and separable."""
        return tuple(
            np.asarray(resampled(np.eye(theirs, dtype=np.float32), (ours,)).T, np.float64)
            for ours, theirs in zip(self.model.spatial_shape, self.autoencoder.shape, strict=True)
        )

    def _theirs(self, pictures: FloatArray) -> FloatArray:
        return on_grid_of(pictures, self.model, self.autoencoder.model, method=self.method)


def why_no_latents(model: Model, *, method: str) -> WhyRayError | None:
    """What keeps this model from having latents, as the error to raise; None for nothing."""
    try:
        LatentSpace(model, method=method)
    except ArtefactMissing as error:
        return ArtefactMissing(
            error.message,
            advice=f"{error.advice} `python -m whyray.training.cxr_autoencoder` shows how one is trained.",
        )
    except WhyRayError as error:
        return error
    return None
