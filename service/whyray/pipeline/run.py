"""The heart of a job, without network, queue or catalog: instances in, answers with explanations out.

`whyray explain` and the worker both run this and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyray.errors import Cancelled, ExplanationError, ImageError, ModelOutputError, TierMissing
from whyray.explain import Heatmap, heatmaps
from whyray.imaging import ModelInput, SourceImage, scores_to_source, to_model, to_source
from whyray.models import Model
from whyray.quality import Budget, assess, salient_region
from whyray.results.answer import Answer, Finding, MapInSource, PackageIdentity

Progress = Callable[[float, str], None]
"""Called between batches with the share done (0..1) and words; raises `Cancelled` to stop the work."""


@dataclass(frozen=True)
class Wish:
    """What a route, or the command line, asks of a package.

    Attributes
    ----------
    methods
        Method name → parameters; the package's and the paper's defaults fill the rest.
    targets
        `present`: the findings at or above their threshold, and the nearest one where there is none; `top`: the `most`
        nearest to or above it; `all`; or names.
    most
        At most so many targets of an image are explained, the clearest first. None: no limit.
    most_forwards
        At most so many forward passes for the quality card of one explanation; None: what suits the model.
    """

    methods: Mapping[str, Mapping[str, object]]
    targets: Literal["present", "top", "all"] | tuple[str, ...] = "present"
    most: int | None = None
    most_forwards: int | None = None
    seed: int = 0


def identity(model: Model) -> PackageIdentity:
    """What results say about the package."""
    manifest = model.manifest
    return PackageIdentity(
        name=manifest.name,
        version=manifest.version,
        title=manifest.title,
        manufacturer=manifest.manufacturer,
        task=manifest.task,
        digest=model.digest,
    )


def suits(image: SourceImage, model: Model) -> str | None:
    """Why this image is not for this package; None if it is."""
    wanted = model.manifest.input
    if image.kind != wanted.kind:
        return f"the image is {image.kind}, the package takes a {wanted.kind}"
    modality = str(image.header.get("Modality", ""))
    if wanted.modalities and modality not in wanted.modalities:
        return f"the modality is {modality or 'absent'}, the package takes {', '.join(wanted.modalities)}"
    return None


def answer_images(
    images: Sequence[SourceImage],
    model: Model,
    wish: Wish,
    *,
    route: str,
    at: datetime,
    revision: int = 1,
    supersedes: Sequence[str] = (),
    progress: Progress,
) -> list[Answer]:
    """One answer for each image that suits the package.

    Raises
    ------
    ImageError
        If none of the images suits it, with the reason for each.
    ModelOutputError
        If the model answers with what its manifest does not promise.
    Cancelled
        If `progress` says so.
    """
    reasons = [suits(image, model) for image in images]
    fitting = [image for image, reason in zip(images, reasons, strict=True) if reason is None]
    if not fitting:
        found = "; ".join(sorted({reason for reason in reasons if reason})) or "there is no image"
        study = images[0].header.StudyInstanceUID if images else "without images"
        raise ImageError(f"study {study}: nothing in it is for {model.identity}: {found}")
    answers = []
    for index, image in enumerate(fitting):

        def share(done: float, words: str, start: float = index / len(fitting)) -> None:
            progress(start + done / len(fitting), words)

        answers.append(
            Answer(
                package=identity(model),
                image=image,
                findings=_findings(image, model, wish, share),
                route=route,
                at=at,
                revision=revision,
                supersedes=tuple(supersedes),
            )
        )
    return answers


def _findings(image: SourceImage, model: Model, wish: Wish, progress: Progress) -> tuple[Finding, ...]:
    progress(0.0, "preparing the image")
    model_input = to_model(image, model.manifest.input)
    progress(0.05, f"running {model.manifest.name}")
    if model.manifest.task == "segmentation":
        findings = _segments(image, model, model_input)
    else:
        findings = _scores(image, model, model_input)
    chosen = _chosen(findings, wish)
    maps = _explain(image, model, model_input, [each.target.name for each in chosen], wish, progress)
    return tuple(
        Finding(
            target=each.target,
            present=each.present,
            probability=each.probability,
            value=each.value,
            mask=each.mask,
            maps=tuple(maps.maps.get(each.target.name, ())),
            refused=maps.refused.get(each.target.name, {}),
        )
        for each in findings
    )


def _predict(image: SourceImage, model: Model, model_input: ModelInput) -> NDArray[np.float32]:
    """The model's answer; what is wrong with it is said with the study that it answered."""
    try:
        answer: NDArray[np.float32] = model.predict(model_input.tensor)[0]
    except ModelOutputError as error:
        study = image.header.StudyInstanceUID
        raise ModelOutputError(f"study {study}: {error.message}", advice=error.advice) from error
    return answer


def _scores(image: SourceImage, model: Model, model_input: ModelInput) -> list[Finding]:
    values = _predict(image, model, model_input)
    regression = model.manifest.task == "regression"
    findings = []
    for target, value in zip(model.manifest.targets, values, strict=True):
        number = float(value)
        findings.append(
            Finding(
                target=target,
                present=number >= target.threshold,
                probability=None if regression else number,
                value=number if regression else None,
            )
        )
    return findings


def _segments(image: SourceImage, model: Model, model_input: ModelInput) -> list[Finding]:
    scores = _predict(image, model, model_input)
    exclusive = model.manifest.output.activation == "softmax"
    classes, covered = scores_to_source(scores, model_input.grid, image) if exclusive else (None, None)
    voxel = _voxel_measure(image, model_input)
    findings = []
    for index, target in enumerate(model.manifest.targets):
        if target.background:
            continue
        inside = scores.argmax(axis=0) == index if exclusive else scores[index] >= target.threshold
        if classes is not None:
            mask = (classes == index) & covered
        else:
            values, within = to_source(scores[index], model_input.grid, image)
            mask = (values >= target.threshold) & within
        findings.append(
            Finding(
                target=target,
                present=bool(mask.any()),
                probability=None,
                value=None if voxel is None else float(inside.sum()) * voxel,
                mask=mask,
            )
        )
    return findings


def _voxel_measure(image: SourceImage, model_input: ModelInput) -> float | None:
    """ml of one voxel of the model's grid, or mm² of one of its pixels where the source has a spacing."""
    determinant = abs(float(np.linalg.det(model_input.grid.to_reference[:-1, :-1])))
    if image.kind == "volume":
        return determinant / 1000.0
    spacing = image.frames[0].spacing
    return None if spacing is None else determinant * spacing[0] * spacing[1]


def _chosen(findings: Sequence[Finding], wish: Wish) -> list[Finding]:
    def above(each: Finding) -> float:
        """How far over its own threshold, in units of what is left to 1."""
        if each.probability is None:
            return each.value or 0.0
        room = (1 - each.target.threshold) if each.present else each.target.threshold
        return (each.probability - each.target.threshold) / max(room, 1e-6)

    ranked = sorted(findings, key=above, reverse=True)
    if wish.targets in ("all", "top"):
        chosen = ranked
    elif wish.targets == "present":
        chosen = [each for each in ranked if each.present] or ranked[:1]
    else:
        chosen = [each for each in ranked if each.target.name in wish.targets]
    return chosen[: wish.most]


@dataclass
class _Maps:
    """Maps by target; refusals by target and method."""

    maps: dict[str, list[MapInSource]] = field(default_factory=dict)
    refused: dict[str, dict[str, str]] = field(default_factory=dict)


def _explain(
    image: SourceImage,
    model: Model,
    model_input: ModelInput,
    targets: Sequence[str],
    wish: Wish,
    progress: Progress,
) -> _Maps:
    made = _Maps()
    steps = max(1, len(wish.methods))
    for index, (method, parameters) in enumerate(wish.methods.items()):
        start, width = 0.1 + 0.9 * index / steps, 0.9 / steps

        def share(done: int, total: int, words: str, start: float = start, width: float = width / 2) -> None:
            progress(start + width * done / max(total, 1), words)

        share(0, 1, f"{method}: explaining {', '.join(targets)}")
        heatmaps = _heatmaps(model, model_input, targets, method, parameters, share, made)
        for number, heatmap in enumerate(heatmaps):
            done = start + width * (0.5 + 0.5 * number / len(heatmaps))
            progress(done, f"{method}: measuring the explanation of {heatmap.target}")

            def measuring(*_: object, done: float = done) -> None:
                progress(done, "measuring")

            found = _in_source(image, model, model_input, heatmap, heatmaps, wish, measuring)
            made.maps.setdefault(heatmap.target, []).append(found)
    return made


def _heatmaps(
    model: Model,
    model_input: ModelInput,
    targets: Sequence[str],
    method: str,
    parameters: Mapping[str, Any],
    progress: Callable[[int, int, str], None],
    made: _Maps,
) -> list[Heatmap]:
    """One shared run for all targets; where one of them can't be explained, each alone, so that the others are."""
    try:
        return heatmaps(model, model_input.tensor, target=list(targets), method=method, progress=progress, **parameters)
    except (ExplanationError, TierMissing) as error:
        if len(targets) > 1 and isinstance(error, ExplanationError):
            return [
                heatmap
                for target in targets
                for heatmap in _heatmaps(model, model_input, [target], method, parameters, progress, made)
            ]
        for target in targets:
            made.refused.setdefault(target, {})[method] = error.message
        return []


def _budget(model: Model, wish: Wish) -> Budget:
    usual = Budget.for_model(model)
    return usual if wish.most_forwards is None else replace(usual, forwards=min(usual.forwards, wish.most_forwards))


def _in_source(
    image: SourceImage,
    model: Model,
    model_input: ModelInput,
    heatmap: Heatmap,
    others: Sequence[Heatmap],
    wish: Wish,
    progress: Callable[[int, int, str], None],
) -> MapInSource:
    card = assess(
        model,
        model_input.tensor,
        heatmap,
        budget=_budget(model, wish),
        seed=wish.seed,
        valid=model_input.valid,
        others=others,
        progress=progress,
    )
    values, covered = to_source(heatmap.values, model_input.grid, image)
    region, rule = salient_region(values, covered, signed=heatmap.signed)
    return MapInSource(
        method=heatmap.method,
        values=values,
        covered=covered,
        region=region,
        region_rule=rule,
        signed=heatmap.signed,
        unit=heatmap.unit,
        card=card,
        layer=heatmap.layer,
        parameters=heatmap.parameters,
    )


__all__ = ["Cancelled", "Progress", "Wish", "answer_images", "identity", "suits"]
