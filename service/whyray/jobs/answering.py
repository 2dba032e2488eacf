"""The heart of a job, without network, queue or catalog: instances in, answers with explanations out.

`whyray explain` and the worker both run this and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from whyray.base.errors import Cancelled, ImageError, ModelOutputError, PackageError
from whyray.base.failures import activity
from whyray.imaging import ModelInput, SourceImage, scores_to_source, structures_of_study, to_model, to_source
from whyray.inference import Model
from whyray.jobs.explaining import explain_image
from whyray.jobs.explanation_request import ExplanationRequest, Progress
from whyray.jobs.study_anatomy import on_grid
from whyray.jobs.user_device import user_device_uid
from whyray.results import Answer, Finding, FramesExplained, PackageIdentity
from whyray.results.header import invalid_attributes

_SHARE_OF_ANSWERS = 0.1
"""Of the progress; explaining takes the rest."""


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
    request: ExplanationRequest,
    *,
    route: str,
    at: datetime,
    revision: int = 1,
    supersedes: Sequence[str] = (),
    device_uid: str | None = None,
    segmentations: Sequence[Path | Dataset] = (),
    progress: Progress,
) -> list[Answer]:
    """One answer for each image that suits the package.

    `segmentations` may hold anatomy of the images: methods that tell by anatomy take it before any other. `device_uid`
    is that of the installation; None for the one that this user keeps.

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
    if not model.targets:
        raise PackageError(
            f"{model.identity} is an {model.task}: it stands beside other packages and answers nothing itself",
            advice="Run the package beside which it stands.",
        )
    answers: list[Answer] = []
    for frames in _by_instance(fitting):

        def share(done: float, words: str, start: int = len(answers), width: int = len(frames)) -> None:
            progress((start + width * done) / len(fitting), words)

        findings, explained = _findings_of_frames(frames, model, request, segmentations, share)
        answers += [
            Answer(
                package=identity(model),
                image=replace(image, notes=(*image.notes, *invalid_attributes(image.header))),
                findings=each,
                route=route,
                at=at,
                revision=revision,
                supersedes=tuple(supersedes),
                frames_explained=explained,
                device_uid=device_uid or user_device_uid(),
            )
            for image, each in zip(frames, findings, strict=True)
        ]
    return answers


def _by_instance(images: Sequence[SourceImage]) -> list[list[SourceImage]]:
    """The planar frames of a multi-frame instance together, every other image by itself, in the order of the images."""
    together: dict[str | int, list[SourceImage]] = {}
    for index, image in enumerate(images):
        together.setdefault(image.multi_frame_instance or index, []).append(image)
    return list(together.values())


def _findings_of_frames(
    frames: Sequence[SourceImage],
    model: Model,
    request: ExplanationRequest,
    segmentations: Sequence[Path | Dataset],
    progress: Progress,
) -> tuple[list[tuple[Finding, ...]], FramesExplained | None]:
    """All frames answered, then those with the clearest answers explained; which these are, where not all are."""
    answered: list[tuple[Finding, ...]] = []
    lone_input: ModelInput | None = None  # many frames' inputs are made again rather than kept in memory together
    for index, frame in enumerate(frames):
        done, place = index / len(frames), f", frame {index + 1} of {len(frames)}" if len(frames) > 1 else ""
        progress(_SHARE_OF_ANSWERS * done, f"preparing the image{place}")
        with activity(f"preparing the image{place}"):
            model_input = to_model(frame, model.manifest.input)
        progress(_SHARE_OF_ANSWERS * (done + 0.5 / len(frames)), f"running {model.manifest.name}{place}")
        answer = _segments if model.manifest.task == "segmentation" else _scores
        with activity(f"running {model.manifest.name}{place}"):
            answered.append(tuple(answer(frame, model, model_input)))
        lone_input = model_input if len(frames) == 1 else None
    explained = _clearest(answered, request)
    findings = list(answered)
    for number, index in enumerate(explained):

        def share(done: float, words: str, number: int = number) -> None:
            progress(max(_SHARE_OF_ANSWERS, (number + done) / len(explained)), words)

        model_input = lone_input or to_model(frames[index], model.manifest.input)
        findings[index] = _explained(frames[index], model, model_input, answered[index], request, segmentations, share)
    if len(explained) == len(frames):
        return findings, None
    numbers = tuple(sorted(frames[index].frames[0].frame_number for index in explained))
    return findings, FramesExplained(numbers, len(frames))


def _clearest(answered: Sequence[Sequence[Finding]], request: ExplanationRequest) -> list[int]:
    """Indices of the frames to be explained, ascending: at most as many as requested, those with the clearest answers.

    Where findings that are present are asked for, frames without any are left out, unless no frame has one: a map of
    what is not there is noise beside those of what is.
    """
    wanted: Sequence[int] = range(len(answered))
    if request.targets == "present":
        wanted = [index for index in wanted if any(each.present for each in answered[index])] or wanted
    if request.most_frames is None or len(wanted) <= request.most_frames:
        return list(wanted)

    def clearness(index: int) -> tuple[bool, float]:
        chosen = _chosen(answered[index], request)
        return any(each.present for each in chosen), max((_above(each) for each in chosen), default=-math.inf)

    ranked = sorted(wanted, key=clearness, reverse=True)
    return sorted(ranked[: request.most_frames])


def _explained(
    image: SourceImage,
    model: Model,
    model_input: ModelInput,
    findings: Sequence[Finding],
    request: ExplanationRequest,
    segmentations: Sequence[Path | Dataset],
    progress: Progress,
) -> tuple[Finding, ...]:
    """The findings with the explanations of those that are to be explained."""
    chosen = _chosen(findings, request)
    anatomy = on_grid(structures_of_study(segmentations, image), image, model_input)
    said = explain_image(image, model, model_input, [each.target.name for each in chosen], request, progress, anatomy)
    return tuple(
        Finding(
            target=finding.target,
            present=finding.present,
            probability=finding.probability,
            value=finding.value,
            mask=finding.mask,
            maps=tuple(said.maps.get(finding.target.name, ())),
            told=tuple(said.told.get(finding.target.name, ())),
            refused=said.refused.get(finding.target.name, {}),
            agreement=said.agreement.get(finding.target.name),
        )
        for finding in findings
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
    exclusive = model.activation == "softmax"
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


def _above(finding: Finding) -> float:
    """How far over its own threshold, in units of what is left to 1."""
    if finding.probability is None:
        return finding.value or 0.0
    room = (1 - finding.target.threshold) if finding.present else finding.target.threshold
    return (finding.probability - finding.target.threshold) / max(room, 1e-6)


def _chosen(findings: Sequence[Finding], request: ExplanationRequest) -> list[Finding]:
    ranked = sorted(findings, key=_above, reverse=True)
    if request.targets in ("all", "top"):
        chosen = ranked
    elif request.targets == "present":
        chosen = [each for each in ranked if each.present] or ranked[:1]
    else:
        chosen = [each for each in ranked if each.target.name in request.targets]
    return chosen[: request.most]


__all__ = ["Cancelled", "ExplanationRequest", "Progress", "answer_images", "identity", "suits"]
