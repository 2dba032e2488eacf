"""What onboarding measures of a model before any map is made: tier, tensors, speed, batches, compiled gradients."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.explain import Method
from whyray.inference import Model
from whyray.onboarding.batch_measuring import measure_batches
from whyray.onboarding.gradient_comparison import compare_gradients, compare_heads


def about_model(model: Model, x: FloatArray, images: int) -> dict[str, Any]:
    """What the model is and can give, measured on the image `x` (1, C, *spatial): the report's first entries.

    `images` is how many there are to onboard on.
    """
    varied = np.concatenate([x, x * 0.5, np.flip(x, axis=-1)])
    started = time.perf_counter()
    for _ in range(3):
        run = model.session.run(x)
    seconds = (time.perf_counter() - started) / 3
    head = model.network.head
    return {
        "package": model.manifest.name,
        "version": model.manifest.version,
        "digest": model.package.digest,
        "tier": model.gradients.measured_tier(),
        "why not higher": model.gradients.tier_reason,
        "explained tensor": model.network.logits_name,
        "activation": model.network.form.activation,
        "features": model.network.features_name,
        "features shape": None if run.features is None else [int(size) for size in run.features.shape[1:]],
        "head": "none in closed form" if head is None else head.kind,
        "grad-cam comes with the answer": bool(run.grad_cams),
        "several items in one pass": model.session.batchable(varied),
        "providers": list(model.session.providers),
        "images": images,
        "seconds for one forward pass": round(seconds, 5),
    }


def measured_engines(model: Model, x: FloatArray, chosen: Sequence[Method]) -> dict[str, Any]:
    """What speed and memory say: batches, and gradients compiled where that wins. Only what `chosen` methods use."""
    engines: dict[str, Any] = {"batch": measure_batches(model, x), "compiled": {}}
    if any(method.tier == "T2" for method in chosen) and model.gradients.measured_tier() == "T2":
        engines["compiled"]["input gradient"] = compare_gradients(model, x)
    closed = model.network.head is not None and model.network.head.kind != "positional"
    if any(method.tier == "T1" for method in chosen) and model.network.features_name is not None and not closed:
        engines["compiled"]["head gradient"] = compare_heads(model, x)
    return engines
