"""`explain`: one image, one method, one target or all, and what comes back is checked before anybody sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast, overload

import numpy as np
from numpy.typing import NDArray

from whyray.base.blas import one_blas_thread
from whyray.base.errors import ExplanationError, TierMissing, WhyRayError
from whyray.explain.case import Case, Progress
from whyray.explain.context import NOTHING, Context
from whyray.explain.image import ExplainedImage, explained_image
from whyray.explain.registry import AnyMethod, MethodParameters, TypedMethod, checked_parameters, method_named
from whyray.explain.typed import Explanation, TypedExplanation
from whyray.explain.types import Heatmap, Tier
from whyray.inference import WITHOUT_MAPS, Model

_ORDER: dict[Tier, int] = {"T0": 0, "T1": 1, "T2": 2}


@overload
def explain(
    model: Model,
    x: NDArray[Any] | ExplainedImage,
    *,
    target: Literal["all"],
    method: str = ...,
    context: Context = ...,
    progress: Progress | None = ...,
    **parameters: Any,
) -> list[Explanation]: ...
@overload
def explain(
    model: Model,
    x: NDArray[Any] | ExplainedImage,
    *,
    target: list[str] | tuple[str, ...],
    method: str = ...,
    context: Context = ...,
    progress: Progress | None = ...,
    **parameters: Any,
) -> list[Explanation]: ...
@overload
def explain(
    model: Model,
    x: NDArray[Any] | ExplainedImage,
    *,
    target: str,
    method: str = ...,
    context: Context = ...,
    progress: Progress | None = ...,
    **parameters: Any,
) -> Explanation: ...
def explain(
    model: Model,
    x: NDArray[Any] | ExplainedImage,
    *,
    target: str | list[str] | tuple[str, ...] = "all",
    method: str = "grad-cam",
    context: Context = NOTHING,
    progress: Progress | None = None,
    **parameters: Any,
) -> Explanation | list[Explanation]:
    """Why the model answers as it does about `x`: one explanation, or a list for several targets from one shared run.

    An attribution map comes as a Heatmap, another type of explanation as its own subclass of `TypedExplanation`.
    `context` is what is known beyond the image: anatomy that came with the study, what was said of it before.

    `x` is one image in the layout of the manifest, (1, ...) or without the batch axis; or one that is held, so that
    its run and whatever else was made of it are not made again. `parameters` come before those
    that the manifest prefers, and those before the paper's. `target` is a name, a list of names, or 'all'; of several
    targets, background and segments that the model did not find are left out. `progress(done, total, words)` is called
    between batches and may raise Cancelled.

    Raises ConfigError (unknown method or parameter), TierMissing, ExplanationError (nothing to explain, or a method
    that failed its own check), ModelOutputError.
    """
    chosen = method_named(method)
    given = {**model.manifest.methods.get(method, {}), **parameters}
    refusal = why_not(chosen, model, given)
    if refusal is not None:
        raise refusal
    checked = checked_parameters(method, given)
    image = explained_image(model, x)
    names = (target,) if isinstance(target, str) and target != "all" else _several(image, target)
    case = Case(
        model,
        image,
        [model.target_index(name) for name in names],
        context=context,
        progress=progress,
        words=f"{method} of {', '.join(names)}",
    )
    with one_blas_thread():
        explanations = _made(chosen, case, checked) if names else []
    return explanations[0] if isinstance(target, str) and target != "all" else explanations


def heatmaps(
    model: Model,
    x: NDArray[Any] | ExplainedImage,
    *,
    target: str | list[str] | tuple[str, ...],
    method: str,
    context: Context = NOTHING,
    progress: Progress | None = None,
    **parameters: Any,
) -> list[Heatmap]:
    """As `explain`, always a list, and for methods that give heatmaps only; ExplanationError for others."""
    if isinstance(method_named(method), TypedMethod):
        raise ExplanationError(f"{method} gives no map", advice="Take a method that gives a heatmap.")
    names = [target] if isinstance(target, str) and target != "all" else target
    explanations = explain(model, x, target=names, method=method, context=context, progress=progress, **parameters)
    return cast("list[Heatmap]", explanations)


def _made(method: AnyMethod, case: Case, parameters: MethodParameters) -> list[Explanation]:
    names = case.target_names
    if isinstance(method, TypedMethod):
        explanations = method.explain_case(case, parameters)
        return [
            _in_its_unit(_checked_parts(explanation, case.shape, name), case.model)
            for name, explanation in zip(names, explanations, strict=True)
        ]
    return [
        Heatmap(
            values=_checked(attribution.values, case.shape, method.name, name),
            target=name,
            method=method.name,
            signed=method.signed,
            unit=unit_of(method.unit, case.model),
            layer=attribution.layer,
            parameters={**parameters.model_dump(), **attribution.parameters},
            evidence=attribution.evidence,
        )
        for name, attribution in zip(names, method.attribute(case, parameters), strict=True)
    ]


def _several(image: ExplainedImage, target: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    for name in () if isinstance(target, str) else target:
        image.model.target_index(name)
    return tuple(name for name in explainable(image) if isinstance(target, str) or name in target)


def explainable(image: ExplainedImage) -> tuple[str, ...]:
    """Targets that can be explained on this image: no background, and only segments that were found."""
    model, regions = image.model, image.regions
    return tuple(
        name for name in model.explainable_targets if regions is None or regions[model.target_index(name)].any()
    )


def why_not(method: AnyMethod, model: Model, given: Mapping[str, object] | None = None) -> WhyRayError | None:
    """Why this model can't be explained by this method, as the error to raise; None where it can.

    T0 and T1 are decided from the graph; T2 by the report where there is one, else by converting, comparing and proving
    now. `given` are parameters: what they name (a companion, an artefact) is looked for in place of what the manifest
    prefers.
    """
    if not model.targets:
        return ExplanationError(
            f"{model.identity} is an {model.task}: it answers nothing, so there is nothing to explain",
            advice="Explain the package beside which it stands.",
        )
    if method.tasks and model.task not in method.tasks:
        return ExplanationError(
            f"{method.name} explains {', '.join(method.tasks)}, and {model.identity} is a {model.task}",
            advice="Take another method.",
        )
    if method.tier == "T1" and model.network.features_name is None:
        return TierMissing(
            f"{method.name} needs feature maps (T1), and {model.identity} has none: {model.network.features.reason}",
            advice=f"Take {WITHOUT_MAPS}; or name a map (N, channels, *grid) of the graph in output.features.",
        )
    if method.tier == "T2":
        reported = model.reported_tier
        if reported is not None and _ORDER[reported] < _ORDER["T2"]:
            return TierMissing(f"{method.name} needs gradients (T2), and {model.identity} was onboarded as {reported}")
        if reported is None and _ORDER[model.tier] < _ORDER["T2"]:
            return _without_twin(model, method.name)
    return method.why_not_with(model, given or {})


def unit_of(unit: str, model: Model) -> str:
    """A method's unit for this model: where its score is no logit, a probability or a regression's value."""
    return unit.replace("logit", model.network.form.unit)


def _in_its_unit(explanation: TypedExplanation, model: Model) -> TypedExplanation:
    """The same, with the unit of the model's score instead of the logit that methods name by themselves."""
    unit = getattr(explanation, "unit", None)
    if not isinstance(unit, str) or unit_of(unit, model) == unit:
        return explanation
    changed: dict[str, Any] = {"unit": unit_of(unit, model)}
    return replace(explanation, **changed)


def _without_twin(model: Model, method: str) -> TierMissing:
    try:
        model.gradients.twin(method)
    except TierMissing as error:
        return error
    return TierMissing(f"{method} needs gradients (T2), and {model.identity} is {model.tier}")


def _checked_parts(explanation: TypedExplanation, shape: tuple[int, ...], target: str) -> TypedExplanation:
    """The same, once it is sure that it is about the target and that its maps and masks lie on the grid."""
    if explanation.target != target:
        raise ExplanationError(
            f"{explanation.method}: expected an explanation of {target}, found one of {explanation.target}"
        )
    for part in explanation.maps:
        _checked(part.values, shape, explanation.method, target)
    for structure in explanation.structures:
        if structure.mask.shape != shape:
            raise ExplanationError(
                f"{explanation.method} of {target}: expected {structure.name} in shape {shape}, "
                f"found {structure.mask.shape}"
            )
    return explanation


def _checked(values: NDArray[Any], shape: tuple[int, ...], method: str, target: str) -> NDArray[np.float32]:
    if values.shape != shape:
        raise ExplanationError(f"{method} of {target}: expected a map of shape {shape}, found {values.shape}")
    with np.errstate(all="ignore"):  # a finite sum is proof enough, and takes a third of the time
        finite = bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())
    if not finite:
        raise ExplanationError(f"{method} of {target}: the map has NaN or infinite values")
    return np.ascontiguousarray(values, dtype=np.float32)
