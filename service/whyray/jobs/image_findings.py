"""What a model says of one image: findings without explanations, and the image as the model takes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from whyray.base.errors import ModelOutputError
from whyray.base.frame_array import Frames
from whyray.base.stages import stage
from whyray.explain import ExplainedImage, Structure, explained_image
from whyray.imaging import (
    ModelInput,
    SourceImage,
    mask_of_scores,
    masks_of_classes,
    scores_to_source,
    spacing_of_area,
    structures_of_study,
    to_model,
)
from whyray.inference import Model
from whyray.jobs.study_anatomy import on_grid
from whyray.packages import TargetSpec
from whyray.results import Finding, Prevalence


@dataclass
class PreparedImage:
    """One image as the model takes it, and what is made of it while it is answered and explained."""

    image: SourceImage
    given: ModelInput
    picture: ExplainedImage
    segmentations: Sequence[Path | Dataset]

    @cached_property
    def anatomy(self) -> tuple[Structure, ...]:
        """What Segmentations of the study say of the image, on the model's grid; read when it is first asked for."""
        return on_grid(structures_of_study(self.segmentations, self.image), self.image, self.given)


def prepare(image: SourceImage, model: Model, segmentations: Sequence[Path | Dataset]) -> PreparedImage:
    """The image on the model's grid, and what explanations ask of it."""
    with stage("preparing"):
        given = to_model(image, model.manifest.input)
    with named_by_study(image):
        return PreparedImage(image, given, explained_image(model, given.tensor), segmentations)


def findings_of(prepared: PreparedImage) -> list[Finding]:
    """One finding a target, in the manifest's order; of a segmentation one a segment, without the background.

    Raises
    ------
    ModelOutputError
        If the model answers with what its manifest does not promise.
    """
    return _segments(prepared) if prepared.picture.model.manifest.task == "segmentation" else _scores(prepared)


def _predict(prepared: PreparedImage) -> NDArray[np.float32]:
    with named_by_study(prepared.image):
        answer: NDArray[np.float32] = prepared.picture.model.answer_on_the_image(prepared.picture.run.logits)[0]
    return answer


@contextmanager
def named_by_study(image: SourceImage) -> Iterator[None]:
    """Say with the study that it answered what is wrong with an answer."""
    try:
        yield
    except ModelOutputError as error:
        study = image.header.StudyInstanceUID
        raise ModelOutputError(f"study {study}: {error.message}", advice=error.advice) from error


def _scores(prepared: PreparedImage) -> list[Finding]:
    model, values = prepared.picture.model, _predict(prepared)
    regression = model.manifest.task == "regression"
    stated = {target.name: target.prevalence for target in model.as_stated.manifest.targets}
    findings = []
    for target, value in zip(model.manifest.targets, values, strict=True):
        number = float(value)
        findings.append(
            Finding(
                target=target,
                present=number >= target.threshold,
                probability=None if regression else number,
                value=number if regression else None,
                prevalence=_prevalence(target, stated[target.name]),
            )
        )
    return findings


def _prevalence(target: TargetSpec, stated: float | None) -> Prevalence | None:
    return None if stated is None or target.prevalence is None else Prevalence(target.prevalence, stated)


def _segments(prepared: PreparedImage) -> list[Finding]:
    image, model, model_input = prepared.image, prepared.picture.model, prepared.given
    scores = _predict(prepared)
    exclusive = model.network.form.activation == "softmax"
    wanted = [index for index, target in enumerate(model.manifest.targets) if not target.background]
    grid, targets = model_input.grid, model.manifest.targets
    if exclusive:
        masks = masks_of_classes(*scores_to_source(scores, grid, image), wanted)
    else:
        masks = [mask_of_scores(scores[index], targets[index].threshold, grid, image) for index in wanted]
    findings = []
    for index, mask in zip(wanted, masks, strict=True):
        target, voxel = targets[index], _voxel_measure(image, model_input, mask)
        inside = scores.argmax(axis=0) == index if exclusive else scores[index] >= target.threshold
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


def _voxel_measure(image: SourceImage, model_input: ModelInput, mask: Frames[np.bool_]) -> float | None:
    """ml of one voxel of the model's grid, or mm² of one of its pixels where the source has a spacing in the mask."""
    determinant = abs(float(np.linalg.det(model_input.grid.to_reference[:-1, :-1])))
    if image.kind == "volume":
        return determinant / 1000.0
    spacing = image.frames[0].spacing or spacing_of_area(image.header, mask[0])
    return None if spacing is None else determinant * spacing[0] * spacing[1]
