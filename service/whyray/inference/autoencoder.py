"""An autoencoder package: from pictures to latents and back, in ONNX Runtime and, for gradients, in torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError, TierMissing
from whyray.inference.converters import TwinConverter, first_right, to_torch
from whyray.inference.differentiation import BY
from whyray.inference.display import as_input, displayed, per_channel
from whyray.inference.gradient import PARITY, only_output, parity_gap, pulled_back
from whyray.inference.gradient_proof import surely_unproven
from whyray.inference.gradient_session import GradientSession
from whyray.inference.model import Model
from whyray.inference.way_back import DifferentiationError

_LOG = logging.getLogger(__name__)


class Autoencoder:
    """A model whose package's task is `autoencoder`, as two functions.

    Pictures are (N, *spatial) float32 in 0..1 as displayed, on the package's own grid; latents are (N, D) float32. The
    torch functions take and give torch tensors of the same shapes on `device`; they are made when first needed, and
    only where they answer as ONNX Runtime does.
    Raises PackageError for a package of another task.
    """

    def __init__(self, model: Model) -> None:
        if model.task != "autoencoder":
            raise PackageError(
                f"{model.identity}: expected an autoencoder, found a package for {model.task}",
                advice="Name an autoencoder package, such as cxr-autoencoder@1.",
            )
        self.model = model

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of pictures."""
        return self.model.spatial_shape

    @property
    def device(self) -> str:
        """Where the torch functions compute."""
        return self.model.session.torch_device

    @cached_property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one item's latents inside the graph; `latents` are these, flattened."""
        sizes = self.model.network.graph.shapes.get(self._latents)
        if sizes is None or any(size is None for size in sizes[1:]):
            return tuple(self.model.session.tapped(self._blank, [self._latents])[self._latents].shape[1:])
        return tuple(int(size or 1) for size in sizes[1:])

    @property
    def latent_count(self) -> int:
        """D: numbers in one item's latents."""
        return prod(self.latent_shape)

    def encode(self, pictures: FloatArray) -> FloatArray:
        """Latents (N, D) of pictures (N, *spatial)."""
        parts = [self.model.session.tapped(batch, [self._latents])[self._latents] for batch in self._batches(pictures)]
        return np.concatenate(parts).reshape(len(pictures), -1)

    def decode(self, latents: FloatArray) -> FloatArray:
        """Pictures (N, *spatial) of latents (N, D)."""
        head = self.model.network.head_from(self._latents)
        step = self.model.session.batch_size
        whole = np.ascontiguousarray(latents, np.float32).reshape(-1, *self.latent_shape)
        parts = [self._as_picture(head(whole[start : start + step])) for start in range(0, len(whole), step)]
        self.model.session.forwards += len(whole)
        return np.concatenate(parts)

    def reconstruct(self, pictures: FloatArray) -> FloatArray:
        """(N, *spatial) pictures as they come back: decode(encode(pictures)), as displayed."""
        return self.decode(self.encode(pictures))

    def encode_torch(self, pictures: Any) -> Any:
        """Latents (N, D), differentiable. Raises TierMissing where the encoder has no verified twin."""
        return self._encoder_twin(pictures)

    def decode_torch(self, latents: Any) -> Any:
        """Pictures (N, *spatial), differentiable. Raises TierMissing where the decoder has no verified twin."""
        return self._decoder_twin(latents)

    def pullback(self, latents: FloatArray, weights: FloatArray) -> FloatArray:
        """(N, D): d sum(pictures · weights) / d latents at `latents` (N, D), `weights` (N, *spatial) of the pictures.

        By ONNX Runtime where the decoder can be differentiated, else by torch.
        Raises TierMissing where the decoder has no verified twin either.
        """
        decoder = self._differentiated_decoder
        if decoder is None:
            return pulled_back(self.decode_torch, np.ascontiguousarray(latents, np.float32), weights, self.device)
        whole = np.ascontiguousarray(latents, np.float32).reshape(-1, *self.latent_shape)
        parts = [decoder(whole[item : item + 1], weights[item : item + 1])[1] for item in range(len(whole))]
        return np.concatenate(parts).reshape(len(whole), -1)

    @property
    def _differentiated_decoder(self) -> GradientSession | None:
        """(latents, weights of pictures) → (pictures, gradient); None where that can't be made, or is not proven.

        Made once for the model, which is held longer than what is made of it for each image.
        """
        return self.model.once(("differentiated decoder",), self._differentiate_decoder)

    def _differentiate_decoder(self) -> GradientSession | None:
        from whyray.inference.differentiated import differentiated_decoder, judged_by_the_graph

        def proven(decoder: GradientSession) -> str:
            def gradient(latents: FloatArray, weights: FloatArray) -> FloatArray:
                back = decoder(latents.reshape(-1, *self.latent_shape), weights)[1]
                return back.reshape(latents.shape)

            return surely_unproven(self.decode, gradient, self._some_latents()[:, None], self.model.identity)

        try:
            with judged_by_the_graph(self.model.identity):
                decoder = differentiated_decoder(self.model.network, self._latents, self.latent_shape)
                reason = self.model.gradients.proof(
                    f"differentiated decoder from {self._latents}", BY, lambda: proven(decoder)
                )
        except DifferentiationError as error:
            reason = str(error)
        if not reason:
            return decoder
        _LOG.warning("%s: the decoder is not differentiated: %s", self.model.identity, reason)
        return None

    def _some_latents(self) -> FloatArray:
        """(2, D): of smooth noise and of a black picture."""
        return np.concatenate([self.encode(_smooth_noise((1, *self.shape))), self.encode(self._blank[:, 0] * 0)])

    @property
    def _latents(self) -> str:
        return str(self.model.manifest.output.embedding)

    @property
    def _blank(self) -> FloatArray:
        return as_input(np.zeros((1, *self.shape), np.float32), self.model.manifest.input)

    def _batches(self, pictures: FloatArray) -> Iterator[FloatArray]:
        step = self.model.session.batch_size
        for start in range(0, len(pictures), step):
            layout = as_input(np.asarray(pictures[start : start + step], np.float32), self.model.manifest.input)
            yield layout

    def _as_picture(self, reconstruction: FloatArray) -> FloatArray:
        first = reconstruction
        if self.model.manifest.input.layout == "NHWC":
            first = np.moveaxis(reconstruction, -1, 1)
        return displayed(first, self.model.manifest.input)

    @cached_property
    def _encoder_twin(self) -> Callable[[Any], Any]:
        import torch

        spec = self.model.manifest.input
        mean, std = (torch.from_numpy(statistic).to(self.device) for statistic in per_channel(spec, len(self.shape)))

        def encoder(net: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def encode(pictures: Any) -> Any:
                x = (pictures[:, None].expand(-1, spec.channels, *[-1] * len(self.shape)) - mean) / std
                return net(x).reshape(len(pictures), -1)

            return encode

        pictures = _smooth_noise((2, *self.shape))
        between = (self.model.network.graph.input, self._latents)
        return self._verified(between, encoder, pictures, self.encode(pictures), "encoder")

    @cached_property
    def _decoder_twin(self) -> Callable[[Any], Any]:
        import torch

        spec = self.model.manifest.input
        mean, std = (torch.from_numpy(statistic).to(self.device) for statistic in per_channel(spec, len(self.shape)))

        def decoder(net: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def decode(latents: Any) -> Any:
                decoded = net(latents.reshape(-1, *self.latent_shape))
                first = torch.movedim(decoded, -1, 1) if spec.layout == "NHWC" else decoded
                return (first * std + mean).mean(dim=1).clamp(0, 1)

            return decode

        latents = self._some_latents()
        between = (self._latents, self.model.network.logits_name)
        return self._verified(between, decoder, latents, self.decode(latents), "decoder")

    def _verified(
        self,
        between: tuple[str, str],
        twin_of: Callable[[Callable[[Any], Any]], Callable[[Any], Any]],
        given: FloatArray,
        expected: FloatArray,
        words: str,
    ) -> Callable[[Any], Any]:
        """`twin_of` the graph between two tensors in torch, by the first converter that gives what is expected."""
        import torch

        cut = self.model.network.graph.cut(*between)

        def right(converter: TwinConverter) -> Callable[[Any], Any]:
            twin = twin_of(only_output(to_torch(cut, converter).to(self.device)))
            with torch.no_grad():
                answer = twin(torch.from_numpy(given).to(self.device)).cpu().numpy()
            gap = parity_gap(answer, expected)
            if not gap <= PARITY:
                raise ValueError(f"it differs from ONNX Runtime by {gap:.2g}")
            return twin

        twin, reason = first_right(right)
        if twin is None:
            raise TierMissing(f"{self.model.identity}: the {words} has no twin: {reason}")
        return twin


def _smooth_noise(shape: tuple[int, ...]) -> FloatArray:
    """Pictures in 0..1 that drive a trained net about as images do; white noise would not."""
    random = np.random.default_rng(0).normal(size=shape)
    for axis in range(1, len(shape)):
        random = np.cumsum(random, axis=axis)
    low = random.min(axis=tuple(range(1, len(shape))), keepdims=True)
    high = random.max(axis=tuple(range(1, len(shape))), keepdims=True)
    return np.asarray((random - low) / (high - low), np.float32)
