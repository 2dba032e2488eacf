"""`explain`: one image, one method, one target or all, and what comes back is checked before anybody sees it."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from whyray.errors import ExplanationError, TierMissing
from whyray.explain.case import Case, Progress, predicted_regions
from whyray.explain.registry import Method, checked_parameters, method_named
from whyray.explain.types import Heatmap, Tier
from whyray.models import Model

_ORDER: dict[Tier, int] = {"T0": 0, "T1": 1, "T2": 2}


@overload
def explain(
    model: Model,
    x: NDArray[Any],
    *,
    target: Literal["all"],
    method: str = ...,
    progress: Progress | None = ...,
    **parameters: Any,
) -> list[Heatmap]: ...
@overload
def explain(
    model: Model,
    x: NDArray[Any],
    *,
    target: list[str] | tuple[str, ...],
    method: str = ...,
    progress: Progress | None = ...,
    **parameters: Any,
) -> list[Heatmap]: ...
@overload
def explain(
    model: Model, x: NDArray[Any], *, target: str, method: str = ..., progress: Progress | None = ..., **parameters: Any
) -> Heatmap: ...
def explain(
    model: Model,
    x: NDArray[Any],
    *,
    target: str | list[str] | tuple[str, ...] = "all",
    method: str = "grad-cam",
    progress: Progress | None = None,
    **parameters: Any,
) -> Heatmap | list[Heatmap]:
    """Why the model answers as it does about `x`: one Heatmap, or a list for several targets from one shared run.

    `x` is one image in the layout of the manifest, (1, ...) or without the batch axis. `parameters` come before those
    that the manifest prefers, and those before the paper's. `target` is a name, a list of names, or 'all'; of several
    targets, background and segments that the model did not find are left out. `progress(done, total, words)` is called
    between batches and may raise Cancelled.

    Raises ConfigError (unknown method or parameter), TierMissing, ExplanationError (nothing to explain, or a method
    that failed its own check), ModelOutputError.
    """
    chosen = method_named(method)
    refusal = why_not(chosen, model)
    if refusal is not None:
        raise refusal
    checked = checked_parameters(method, {**model.manifest.methods.get(method, {}), **parameters})
    image = model.channels_first(x)
    if len(image) != 1:
        raise ExplanationError(f"expected one image, found {len(image)}", advice="Explain images one at a time.")
    names = (target,) if isinstance(target, str) and target != "all" else _several(model, image, target)
    case = Case(
        model,
        image,
        [model.target_index(name) for name in names],
        progress=progress,
        words=f"{method} of {', '.join(names)}",
    )
    found = chosen.attribute(case, checked) if names else []
    heatmaps = [
        Heatmap(
            values=_checked(each.values, case.shape, method, name),
            target=name,
            method=method,
            signed=chosen.signed,
            unit=chosen.unit,
            layer=each.layer,
            parameters=checked.model_dump(),
            evidence=each.evidence,
        )
        for name, each in zip(names, found, strict=True)
    ]
    return heatmaps[0] if isinstance(target, str) and target != "all" else heatmaps


def _several(model: Model, image: NDArray[np.float32], target: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    for name in () if isinstance(target, str) else target:
        model.target_index(name)
    return tuple(each for each in explainable(model, image) if isinstance(target, str) or each in target)


def explainable(model: Model, image: NDArray[np.float32]) -> tuple[str, ...]:
    """Targets that can be explained on this image: no background, and only segments that were found."""
    regions = predicted_regions(model, model.run(image).logits) if model.task == "segmentation" else None
    return tuple(
        name for name in model.explainable_targets if regions is None or regions[model.target_index(name)].any()
    )


def why_not(method: Method, model: Model) -> TierMissing | ExplanationError | None:
    """Why this model can't be explained by this method, as the error to raise; None where it can.

    T0 and T1 are decided from the graph; T2 by the report where there is one, else by converting and comparing now.
    """
    if method.tasks and model.task not in method.tasks:
        return ExplanationError(
            f"{method.name} explains {', '.join(method.tasks)}, and {model.identity} is a {model.task}",
            advice="Take another method.",
        )
    if method.tier == "T1" and model.features_name is None:
        return TierMissing(f"{method.name} needs feature maps (T1), and {model.identity} has none")
    if method.tier == "T2":
        reported = model.reported_tier
        if reported is not None and _ORDER[reported] < _ORDER["T2"]:
            return TierMissing(f"{method.name} needs gradients (T2), and {model.identity} was onboarded as {reported}")
    return None


def _checked(values: NDArray[Any], shape: tuple[int, ...], method: str, target: str) -> NDArray[np.float32]:
    if values.shape != shape:
        raise ExplanationError(f"{method} of {target}: expected a map of shape {shape}, found {values.shape}")
    if not np.isfinite(values).all():
        raise ExplanationError(f"{method} of {target}: the map has NaN or infinite values")
    return np.ascontiguousarray(values, dtype=np.float32)
