"""Answers and explains images of one study with one package, without network, queue or catalog.

`whyray explain` and the worker both run this and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import (
    BreastProjectionXRayImageStorageForProcessing,
    DigitalIntraOralXRayImageStorageForProcessing,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForProcessing,
)

from whyray.base.allocator import give_back
from whyray.base.blas import one_blas_thread
from whyray.base.errors import Cancelled, ImageError, PackageError
from whyray.base.failures import activity
from whyray.base.stages import stage
from whyray.explain import Context
from whyray.explain.anatomy import anatomy_in
from whyray.imaging import (
    COMPUTED,
    NoteKind,
    SourceImage,
    computed,
    mask_to_source,
    quality_control,
    values_in_unit,
)
from whyray.inference import Model
from whyray.jobs.carrying import Beside
from whyray.jobs.device_turn import Device
from whyray.jobs.explaining import explain_image
from whyray.jobs.explanation_request import ExplanationRequest, Progress
from whyray.jobs.image_findings import PreparedImage, findings_of, named_by_study, prepare
from whyray.jobs.scope import frames_to_check, scope_of_frame, scope_of_instance
from whyray.jobs.user_device import user_device_uid
from whyray.quality import ScopeCheck
from whyray.results import (
    Answer,
    Finding,
    FramesExplained,
    PackageIdentity,
    StructureInSource,
    invalid_attributes,
)

_FOR_PROCESSING = frozenset(
    [
        BreastProjectionXRayImageStorageForProcessing,
        DigitalXRayImageStorageForProcessing,
        DigitalMammographyXRayImageStorageForProcessing,
        DigitalIntraOralXRayImageStorageForProcessing,
    ]
)
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
        digest=model.package.digest,
    )


def suits(image: SourceImage, model: Model) -> str | None:
    """Why this image is not for this package; None if it is."""
    wanted = model.manifest.input
    if image.kind != wanted.kind:
        lacking = [note.detail for note in image.notes if note.kind == NoteKind.POSITION_UNKNOWN]
        why = f" ({lacking[0]})" if lacking and wanted.kind == "volume" else ""
        return f"the image is {image.kind}, the package takes a {wanted.kind}{why}"
    modality = str(image.header.get("Modality", ""))
    if wanted.modalities and modality not in wanted.modalities:
        return f"the modality is {modality or 'absent'}, the package takes {', '.join(wanted.modalities)}"
    if phantom := quality_control(image.header):
        return f"the image is of a phantom and of no patient ({phantom})"
    if made := _computed(image, wanted.computed):
        return f"the image was computed from others, as {made}, and the package does not take such (input.computed)"
    try:
        values_in_unit(image, wanted.intensity)
    except ImageError as error:
        return error.message
    if wanted.intensity.source == "voi" and _raw(image.header):
        return "the image is for processing, not to be looked at (0008,0068), and the package takes what is shown"
    if wanted.intensity.source == "voi" and _is_shown_subtracted(image.header):
        return (
            "viewers subtract a mask from the image (0028,1090), WhyRay does not, and the package takes what is shown"
        )
    if wanted.intensity.source == "voi" and _is_shown_in_colours(image.header):
        return "viewers show some values in colours (0008,9205), WhyRay does not, and the package takes what is shown"
    return None


def _computed(image: SourceImage, taken: Sequence[str]) -> str | None:
    """As what some frame was computed that a package does not take, and by which attribute; None where none was."""
    for frame in image.frames:
        made = computed(image.headers[frame.sop_instance_uid], frame.frame_number)
        if made is not None and made[0] not in taken:
            return f"{COMPUTED[made[0]]} ({made[1]})"
    return None


def _raw(header: Dataset) -> bool:
    """Whether an image is what a detector gave, by its class or by what it says of itself."""
    return header.get("SOPClassUID") in _FOR_PROCESSING or header.get("PresentationIntentType") == "FOR PROCESSING"


def _is_shown_in_colours(header: Dataset) -> bool:
    """Whether a monochrome image has a Supplemental Palette for some or all of its values: PS3.3 C.7.6.19."""
    presented = str(header.get("PixelPresentation") or "").strip()
    monochrome = str(header.get("PhotometricInterpretation") or "").startswith("MONOCHROME")
    return monochrome and presented in ("COLOR", "MIXED") and "RedPaletteColorLookupTableDescriptor" in header


def _is_shown_subtracted(header: Dataset) -> bool:
    """Whether viewers show the difference from mask frames first: Recommended Viewing Mode, PS3.3 C.7.6.10."""
    return str(header.get("RecommendedViewingMode") or "").strip() == "SUB"


def answer_images(
    images: Sequence[SourceImage],
    model: Model,
    request: ExplanationRequest,
    *,
    route: str,
    at: datetime,
    revision: int = 1,
    replaces: tuple[int, int] | None = None,
    device_uid: str | None = None,
    segmentations: Sequence[Path | Dataset] = (),
    progress: Progress,
    device: Device = nullcontext,
    beside: Beside | None = None,
) -> list[Answer]:
    """One answer for each image that suits the package.

    `device` is entered when the first image is prepared, and left at the end. `revision` and `replaces` are as in
    `Answer`. `segmentations` may hold anatomy of the images: methods that tell by anatomy take it before any other.
    `device_uid` is that of the installation; None for the one that this user keeps. `beside` is done with each map of
    an image that is explained by itself, while maps are measured.

    Raises
    ------
    ImageError
        If none of the images suits it, with the reason for each.
    ModelOutputError
        If the model answers with what its manifest does not promise.
    PackageError
        If the package answers nothing itself, or a prevalence is requested that it does not state one for.
    Cancelled
        If `progress` says so.
    """
    reasons = [suits(image, model) for image in images]
    fitting = [image for image, reason in zip(images, reasons, strict=True) if reason is None]
    if not fitting:
        words = "; ".join(sorted({reason for reason in reasons if reason})) or "there is no image"
        study = images[0].header.StudyInstanceUID if images else "without images"
        raise ImageError(f"study {study}: nothing in it is for {model.identity}: {words}")
    if not model.targets:
        raise PackageError(
            f"{model.identity} is an {model.task}: it stands beside other packages and answers nothing itself",
            advice="Run the package beside which it stands.",
        )
    model = model.at_prevalence({name: share for name, share in request.prevalence.items() if name in model.targets})
    answers: list[Answer] = []
    with one_blas_thread(), ExitStack() as held:  # sums are to be the same on however many cores
        at_the_device = cache(lambda: held.enter_context(device()))
        for frames in _by_instance(fitting):
            part = _part_of(progress, len(answers) / len(fitting), len(frames) / len(fitting))
            scope, findings, explained, anatomies = _findings_of_frames(
                frames, model, request, segmentations, part, at_the_device, beside
            )
            answers += [
                Answer(
                    package=identity(model),
                    image=replace(image, notes=(*image.notes, *invalid_attributes(image.header))),
                    findings=image_findings,
                    route=route,
                    at=at,
                    revision=revision,
                    replaces=replaces,
                    frames_explained=explained,
                    scope=scope,
                    anatomy=anatomy,
                    device_uid=device_uid or user_device_uid(),
                )
                for image, image_findings, anatomy in zip(frames, findings, anatomies, strict=True)
            ]
    give_back()  # what the passes took: pages are to be drawn
    return answers


def _part_of(progress: Progress, start: float, width: float, *, least: float = 0.0) -> Progress:
    """The progress of a part that begins at `start` and is `width` of the whole, never told as less than `least`."""

    def part(done: float, words: str) -> None:
        progress(max(least, start + width * done), words)

    return part


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
    at_the_device: Callable[[], None],
    beside: Beside | None,
) -> tuple[ScopeCheck, list[tuple[Finding, ...]], FramesExplained | None, list[tuple[StructureInSource, ...]]]:
    """All frames answered, then those with the clearest answers explained; which these are, where not all are; and the
    anatomy of those.

    Before, whether the frames are such as the package was made for: where they are not, there are no findings.
    """
    answered: list[tuple[Finding, ...]] = []
    checks: list[ScopeCheck] = []
    checked = set(frames_to_check(len(frames)))
    lone: PreparedImage | None = None  # many frames' inputs are made again rather than kept in memory together
    for index, frame in enumerate(frames):
        done, place = index / len(frames), f", frame {index + 1} of {len(frames)}" if len(frames) > 1 else ""
        progress(_SHARE_OF_ANSWERS * done, f"preparing the image{place}")
        with activity(f"preparing the image{place}"):
            prepared = prepare(frame, model, segmentations)
        at_the_device()
        if index in checked:
            progress(_SHARE_OF_ANSWERS * (done + 0.2 / len(frames)), f"comparing with ordinary images{place}")
            with activity(f"comparing with ordinary images{place}"), stage("scope"), named_by_study(frame):
                checks.append(scope_of_frame(frame, prepared.picture, prepared.given, prepared.anatomy))
            if len(frames) == 1 and checks[0].refused:
                return checks[0], [()], None, [()]
        progress(_SHARE_OF_ANSWERS * (done + 0.5 / len(frames)), f"running {model.manifest.name}{place}")
        with activity(f"running {model.manifest.name}{place}"), stage("answer"):
            answered.append(tuple(findings_of(prepared)))
        lone = prepared if len(frames) == 1 else None
    scope = scope_of_instance(checks)
    if scope.refused:
        return scope, [()] * len(frames), None, [()] * len(frames)
    explained = _clearest(answered, request)
    findings = list(answered)
    anatomies: list[tuple[StructureInSource, ...]] = [()] * len(frames)
    for number, index in enumerate(explained):
        part = _part_of(progress, number / len(explained), 1 / len(explained), least=_SHARE_OF_ANSWERS)
        prepared = lone or prepare(frames[index], model, segmentations)
        findings[index] = _explained(prepared, answered[index], request, scope, part, beside if lone else None)
        with stage("anatomy"):
            anatomies[index] = _anatomy(prepared)
    if len(explained) == len(frames):
        return scope, findings, None, anatomies
    numbers = tuple(sorted(frames[index].frames[0].frame_number for index in explained))
    return scope, findings, FramesExplained(numbers, len(frames)), anatomies


def _clearest(answered: Sequence[Sequence[Finding]], request: ExplanationRequest) -> list[int]:
    """Indices of the frames to be explained, ascending: at most as many as requested, those with the clearest answers.

    Where findings that are present are asked for, frames without any are left out, unless no frame has one: a map of
    what is not there is noise beside those of what is.
    """
    wanted: Sequence[int] = range(len(answered))
    if request.targets == "present":
        wanted = [index for index in wanted if any(finding.is_sought for finding in answered[index])] or wanted
    if request.most_frames is None or len(wanted) <= request.most_frames:
        return list(wanted)

    def clearness(index: int) -> tuple[bool, float]:
        chosen = _chosen(answered[index], request)
        return any(finding.is_sought for finding in chosen), max(
            (_above(finding) for finding in chosen), default=-math.inf
        )

    ranked = sorted(wanted, key=clearness, reverse=True)
    return sorted(ranked[: request.most_frames])


def _explained(
    prepared: PreparedImage,
    findings: Sequence[Finding],
    request: ExplanationRequest,
    scope: ScopeCheck,
    progress: Progress,
    beside: Beside | None,
) -> tuple[Finding, ...]:
    """The findings with the explanations of those that are to be explained."""
    chosen = _chosen(findings, request)
    names = [finding.target.name for finding in chosen]
    said = explain_image(
        prepared.image, prepared.picture, prepared.given, names, request, progress, prepared.anatomy, scope, beside
    )
    return tuple(
        Finding(
            target=finding.target,
            present=finding.present,
            probability=finding.probability,
            value=finding.value,
            prevalence=finding.prevalence,
            mask=finding.mask,
            maps=tuple(said.maps.get(finding.target.name, ())),
            typed=tuple(said.typed.get(finding.target.name, ())),
            refused=said.refused.get(finding.target.name, {}),
            agreement=said.agreement.get(finding.target.name),
        )
        for finding in findings
    )


def _anatomy(prepared: PreparedImage) -> tuple[StructureInSource, ...]:
    """Structures by which pages say where something lies, lungs in thirds: of the study, or of the package that finds
    them; none where neither knows any, and none of a segmentation, whose segments say where they are."""
    if prepared.picture.model.task == "segmentation":
        return ()
    structures = anatomy_in(
        prepared.picture.model, prepared.picture, context=Context(structures=prepared.anatomy), zones=True
    )
    return tuple(
        StructureInSource(
            structure.name,
            mask_to_source(structure.mask, prepared.given.grid, prepared.image)[0],
            structure.code,
            structure.laterality,
        )
        for structure in structures
    )


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
        chosen = [finding for finding in ranked if finding.is_sought] or ranked[:1]
    else:
        chosen = [finding for finding in ranked if finding.target.name in request.targets]
    return chosen[: request.most]


__all__ = ["Cancelled", "ExplanationRequest", "Progress", "answer_images", "identity", "suits"]
