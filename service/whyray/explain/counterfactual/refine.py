"""Latents that stand for one image better than the encoder's: a few steps of descent on picture and answers."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.stages import stage
from whyray.explain.case import Case
from whyray.explain.companion_grid import as_input
from whyray.explain.counterfactual.latent import LatentSpace
from whyray.inference import per_channel

STEPS = 16
RATE, BETA_1, BETA_2 = 0.05, 0.8, 0.95
ANSWERS = 0.3
"""Weight of the answers beside the picture: the more of it, the more a decoder is made to draw what only the model sees
(on held-out radiographs differences carried over to the image itself better with 0.3 than with 1 or with 0)."""
CLOSE = 0.05
"""A largest gap of logits at which descent ends: smaller ones change nothing that is shown."""


def refined(case: Case, space: LatentSpace, latents: FloatArray, steps: int, method: str) -> FloatArray:
    """Latents (1, D) near `latents`, whose picture is more like the image and gets the answers that the image gets.

    Inversion of a generator by descent from the encoder's guess (Zhu et al. 2016, ECCV, section 3.1), here with a term
    that the picture alone would not give: |D(z) - x|² / |D(E(x)) - x|² + ANSWERS * mean over the case's targets of
    (f(D(z)) - f(x))², in logits. Adam, with steps in units of the latents' own root mean square; of all steps the one
    with the least loss is taken. Each costs one pass and its way back.
    """
    import torch

    if steps == 0:
        return latents
    model = case.model
    wanted = list(range(len(model.targets))) if model.network.form.activation == "softmax" else list(case.targets)
    spec = model.manifest.input
    _, std = per_channel(spec, len(case.shape))
    twin = model.gradients.twin(method)
    goal = torch.from_numpy(np.ascontiguousarray(case.run.logits[:, wanted])).to(twin.device)
    scale = RATE * float(np.sqrt((latents**2).mean()))
    now = latents.astype(np.float64)
    first_moment, second_moment = np.zeros_like(now), np.zeros_like(now)
    best, least, first = latents, np.inf, 0.0
    for step in range(1, steps + 2):
        case.tell(step - 1, steps + 1)
        picture = space.decode(now.astype(np.float32))
        leaf = torch.from_numpy(as_input(picture, spec)).to(twin.device).requires_grad_(True)
        with stage("gradients"):
            gaps = twin.logits(leaf)[:, wanted] - goal
        error = float(((picture - case.display) ** 2).mean())
        first = first or max(error, 1e-8)
        loss = error / first + ANSWERS * float((gaps.detach() ** 2).mean())
        if loss < least:
            best, least = now.astype(np.float32), loss
        if step > steps or (step > 1 and float(gaps.detach().abs().max()) < CLOSE and error <= first):
            break
        with stage("gradients"):
            by_answers = torch.autograd.grad(ANSWERS * (gaps**2).mean(), leaf)[0].cpu().numpy()
        by_pixels = 2 * (picture - case.display) / (first * picture.size)
        model.session.forwards += 3
        slope = space.pulled_back(now.astype(np.float32), by_pixels + (by_answers / std).sum(axis=1))
        first_moment = BETA_1 * first_moment + (1 - BETA_1) * slope
        second_moment = BETA_2 * second_moment + (1 - BETA_2) * slope**2
        step_size = scale * min(1.0, 2 * (1 - step / (steps + 1)))
        now -= step_size * (first_moment / (1 - BETA_1**step)) / (np.sqrt(second_moment / (1 - BETA_2**step)) + 1e-12)
    return best
