"""How the chest autoencoder is fitted: like the picture, and above all like it in the eyes of the classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from whyray_training.cxr_autoencoder_data import BATCH, Lesson, Observer
from whyray_training.cxr_autoencoder_net import Autoencoder


@dataclass(frozen=True)
class Recipe:
    """The numbers that a run can change. `pixels`, `features`, `pooled`, `answers` weigh the terms of the loss."""

    copies: int = 3
    steps: int = 900
    rate: float = 1e-3
    linear_rate: float = 2e-5
    pixels: float = 300.0
    features: float = 1.0
    pooled: float = 0.5
    answers: float = 1.0
    shrink: float = 1e-3


def fit(
    net: Autoencoder,
    data: Lesson,
    observer: Observer,
    recipe: Recipe,
    seed: int,
    tell: Callable[[dict[str, float]], None],
) -> Autoencoder:
    """The net after `recipe.steps` batches; `tell` hears the terms of each batch's loss."""
    random = np.random.default_rng(seed)
    linear = [*net.encoder.linear.parameters(), *net.decoder.linear.parameters()]
    known = {id(parameter) for parameter in linear}
    others = [parameter for parameter in net.parameters() if id(parameter) not in known]
    groups = [{"params": linear, "lr": recipe.linear_rate}, {"params": others, "lr": recipe.rate}]
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
    plan = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [recipe.linear_rate, recipe.rate], total_steps=recipe.steps, pct_start=0.1
    )
    spread = torch.from_numpy(data.pooled.std(axis=0) + 0.02)
    net.train()
    order = np.concatenate([random.permutation(len(data)) for _ in range(recipe.steps * BATCH // len(data) + 1)])
    for step in range(recipe.steps):
        rows = np.sort(order[step * BATCH : (step + 1) * BATCH])
        terms = _terms(net, data, rows, observer, spread)
        weights = {"pixels": recipe.pixels, "features": recipe.features, "pooled": recipe.pooled}
        weights |= {"answers": recipe.answers, "shrink": recipe.shrink}
        loss = sum((weights[name] * term for name, term in terms.items()), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        optimiser.step()
        plan.step()
        tell({name: float(term.detach()) for name, term in terms.items()})
    net.eval()
    return net


def _terms(
    net: Autoencoder, data: Lesson, rows: np.ndarray[tuple[int], np.dtype[np.int64]], observer: Observer, spread: Tensor
) -> dict[str, Tensor]:
    seen = torch.from_numpy(data.seen[rows].astype(np.float32))[:, None]
    wanted = torch.from_numpy(data.features[rows].astype(np.float32))
    latents = net.encoder(seen)
    picture = net.decoder(latents)
    shown = functional.interpolate(
        picture.clamp(0, 1), size=(observer.size, observer.size), mode="bilinear", align_corners=False
    )
    features, pooled, logits = observer(shown)
    return {
        "pixels": functional.mse_loss(picture, seen),
        "features": functional.smooth_l1_loss(features[:, : wanted.shape[1]], wanted),
        "pooled": (((pooled - torch.from_numpy(data.pooled[rows])) / spread) ** 2).mean(),
        "answers": functional.smooth_l1_loss(logits, torch.from_numpy(data.logits[rows])),
        "shrink": (latents**2).mean(),
    }
