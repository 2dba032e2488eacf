"""Activation maximisation (Erhan et al. 2009; Olah et al. 2017): pictures made to excite a unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import ExplanationError, TierMissing
from whyray.explain import as_input
from whyray.explain.units import activations, pooled
from whyray.inference import PARITY, Model, first_right, parity_gap, to_torch


@dataclass(frozen=True)
class Recipe:
    """How pictures are made.

    Attributes
    ----------
    steps, rate
        Of Adam.
    seeds
        Pictures from as many random starts for each unit.
    jitter
        The picture is shifted by up to so many places along each axis before every step.
    variation
        Weight of the total variation, in activations' standard deviations over the start's noise per unit of
        mean absolute difference of neighbours.
    """

    steps: int = 96
    rate: float = 0.08
    seeds: int = 2
    jitter: int = 8
    variation: float = 4.0


@dataclass(frozen=True)
class Maximised:
    """Pictures (seeds, h, w) in 0..1 for one unit: synthetic, no image of anybody.

    `reached` (seeds,): the unit's mean activation of each, by ONNX Runtime; `start` (seeds,): of the random starts.
    """

    unit: int
    pictures: FloatArray
    reached: FloatArray
    start: FloatArray


def maximise(
    model: Model, layer: str, units: Sequence[int], recipe: Recipe, rng: np.random.Generator
) -> list[Maximised]:
    """Pictures that excite each unit, by its mean activation.

    The picture is kept in 0..1 by a sigmoid of a sum of waves whose amplitudes are the inverse of their frequency
    (Olah et al. 2017, 'preconditioning'), so that steps don't favour noise; total variation and jitter do the rest.
    Raises TierMissing where the way from the image to the layer does not convert, or answers otherwise than ONNX
    Runtime; ExplanationError for volumes.
    """
    import torch

    if len(model.spatial_shape) != 2:
        raise ExplanationError(
            f"activation-maximisation makes planar pictures, and {model.identity} takes volumes",
            advice="Leave out --maximise.",
        )
    cut = model.network.graph.cut(model.network.graph.input, layer)
    body, reason = first_right(lambda converter: to_torch(cut, converter).to(model.session.torch_device))
    if body is None:
        raise TierMissing(f"{model.identity}: the way to {layer!r} does not convert: {reason}")
    waves = torch.from_numpy(_amplitudes(model.spatial_shape)).to(model.session.torch_device)
    maximised = []
    for unit in units:
        noise = rng.normal(size=(recipe.seeds, *waves.shape, 2)).astype(np.float32)
        shifts = rng.integers(-recipe.jitter, recipe.jitter + 1, size=(recipe.steps, 2))
        start, pictures = _climb(model, body, unit, torch.from_numpy(noise).to(waves.device), waves, shifts, recipe)
        inputs = as_input(np.concatenate([start, pictures]), model.manifest.input)
        reached = pooled(activations(model, inputs, layer))[:, unit]
        own = _layer_of(body, torch.from_numpy(inputs).to(waves.device)).flatten(2).mean(dim=2)[:, unit]
        gap = parity_gap(own.detach().cpu().numpy(), reached)
        if gap > PARITY:
            raise TierMissing(f"{model.identity}: the converted graph's {layer!r} differs by {gap:.2g}")
        maximised.append(Maximised(unit, pictures, reached[recipe.seeds :], reached[: recipe.seeds]))
    return maximised


def _climb(
    model: Model, body: Any, unit: int, noise: Any, waves: Any, shifts: NDArray[np.int64], recipe: Recipe
) -> tuple[FloatArray, FloatArray]:
    import torch

    leaf = (0.3 * noise).requires_grad_(True)
    optimiser = torch.optim.Adam([leaf], lr=recipe.rate)
    start = _picture(leaf, waves, model.spatial_shape).detach()
    first = _score(model, body, start, unit)
    scale = float(first.std(correction=0)) + 0.1 * float(first.abs().mean()) + 1e-3
    for shift in shifts:
        optimiser.zero_grad()
        picture = _picture(leaf, waves, model.spatial_shape)
        moved = torch.roll(picture, (int(shift[0]), int(shift[1])), dims=(1, 2))
        rough = picture.diff(dim=1).abs().mean() + picture.diff(dim=2).abs().mean()
        loss = -_score(model, body, moved, unit).mean() / scale + recipe.variation * rough * recipe.seeds
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        end = _picture(leaf, waves, model.spatial_shape)
    return start.cpu().numpy(), end.cpu().numpy()


def _picture(leaf: Any, waves: Any, shape: tuple[int, ...]) -> Any:
    """(seeds, h, w) in 0..1."""
    import torch

    spectrum = torch.complex(leaf[..., 0], leaf[..., 1]) * waves
    return torch.sigmoid(torch.fft.irfft2(spectrum, s=shape, norm="ortho"))


def _score(model: Model, body: Any, pictures: Any, unit: int) -> Any:
    import torch

    spec = model.manifest.input
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=pictures.device).view(1, -1, 1, 1)
        for values in (spec.intensity.mean, spec.intensity.std)
    )
    x = (pictures[:, None].expand(-1, spec.channels, -1, -1) - mean) / std
    return _layer_of(body, x)[:, unit].flatten(1).mean(dim=1)


def _layer_of(body: Any, x: Any) -> Any:
    answer = body(x)
    return answer[0] if isinstance(answer, (tuple, list)) else answer


def _amplitudes(shape: tuple[int, ...]) -> FloatArray:
    """(h, w // 2 + 1): inverse frequencies, so that all scales of a picture learn alike."""
    rows, columns = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    frequency = np.hypot(rows, columns)
    amplitudes: FloatArray = (1 / np.maximum(frequency, 1 / max(shape))).astype(np.float32)
    return amplitudes * np.float32(1.5 / np.sqrt((amplitudes**2).mean()))
