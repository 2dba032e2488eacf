"""Which structures an image shows: from the study's Segmentation, from the package itself, or from its companion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field
from scipy import ndimage

from whyray.base.arrays import BoolArray
from whyray.base.coded_concept import CodedConcept
from whyray.base.errors import ArtefactMissing, ExplanationError, NotFound, PackageError, WhyRayError
from whyray.explain.anatomy.allowed import HEART, LEFT_LUNG, LUNG, MEDIASTINUM, PLEURA, RIGHT_LUNG, marked
from whyray.explain.anatomy.zones import LEFT, RIGHT, with_zones
from whyray.explain.case import Case
from whyray.explain.companion_grid import as_input, on_grid_of, resampled
from whyray.explain.image import ExplainedImage
from whyray.explain.registry import MethodParameters
from whyray.explain.typed import Structure
from whyray.inference import Model
from whyray.packages import TargetSpec

STUDY = "study"
"""In place of a package: structures come with the study, as a Segmentation, or not at all."""
LEAST_VOXELS = 16
NOTCH = 0.04
"""Radius, as part of the longest side, of discs that close a lung's outline."""
_LATERALITY = {RIGHT_LUNG: RIGHT, LEFT_LUNG: LEFT}
_SRT_SCHEMES = frozenset({"SRT", "SNM3"})
_FROM_SRT = {
    "T-28000": LUNG,
    "T-28100": RIGHT_LUNG,
    "T-28500": LEFT_LUNG,
    "T-32000": HEART,
    "T-D3300": MEDIASTINUM,
    "T-29000": PLEURA,
}
_RIGHT = CodedConcept(value=RIGHT_LUNG, scheme="SCT", meaning="Right lung")
_LEFT = CodedConcept(value=LEFT_LUNG, scheme="SCT", meaning="Left lung")
_SIDED_LUNG = {RIGHT.value: _RIGHT, LEFT.value: _LEFT, "G-A100": _RIGHT, "G-A101": _LEFT}


class AnatomyParameters(MethodParameters):
    """`anatomy` names a package (NAME or NAME@VERSION) in place of the companion, or `study` for the study's own
    Segmentation only; `zones` tells the lungs of a radiograph by upper, mid and lower zone."""

    anatomy: str | None = None
    zones: bool = Field(default=False)


def missing_anatomy(model: Model, method: str) -> WhyRayError | None:
    """What this model lacks to be explained by structures; None where they may be had.

    A segmentation has its own. Others name a companion (`companions: {anatomy: …}`), or `study` there.
    """
    if model.task == "segmentation":
        return None
    own = model.manifest.methods.get(method, {}).get("anatomy")
    if STUDY in (own, model.manifest.companions.get("anatomy")):
        return None
    try:
        companion = model.companion("anatomy", method=method, reference=None if own is None else str(own))
    except (ArtefactMissing, NotFound, PackageError) as error:
        return error
    if companion.task != "segmentation":
        return PackageError(
            f"{method}: expected a segmentation as anatomy of {model.identity}, found {companion.identity}, a "
            f"{companion.task}",
            advice="Name a package that segments anatomy under companions.anatomy.",
        )
    return None


def structures_of(case: Case, parameters: AnatomyParameters, *, method: str) -> tuple[Structure, ...]:
    """Structures that the image shows, on the model's input grid, each with at least 16 voxels; the study's first.

    Raises ExplanationError where none is found, ArtefactMissing where nothing could find one.
    """
    structures = _usable(case.context.structures) or _from_packages(case, parameters, method)
    if not structures:
        raise ExplanationError(
            f"{method}: no anatomy found in this image",
            advice="Look whether the image shows what the anatomy package knows, upright and whole.",
        )
    return with_zones(structures) if parameters.zones else structures


def anatomy_of(case: Case, parameters: AnatomyParameters) -> str:
    """Where the structures come from, in words: the study, the package itself, or a package with its digest."""
    if _usable(case.context.structures):
        return "Segmentation of the study"
    named = parameters.anatomy or case.model.manifest.companions.get("anatomy")
    if named is None:
        return f"{case.model.identity} itself"
    companion = case.model.companion("anatomy", method="anatomy", reference=parameters.anatomy)
    return f"{companion.identity} {companion.package.digest[:12]}"


def structures_for(
    case: Case, parameters: AnatomyParameters, target: TargetSpec, *, method: str
) -> tuple[Structure, ...]:
    """As `structures_of`, each knowing whether the target may be looked for in it."""
    return marked(structures_of(case, parameters, method=method), target)


def structure(
    name: str, mask: BoolArray, code: CodedConcept | None = None, laterality: CodedConcept | None = None
) -> Structure:
    """A structure by its code in use: SNOMED CT where `code` is its SRT forerunner, of a lung the one of its side."""
    if code is not None and code.scheme in _SRT_SCHEMES and code.value in _FROM_SRT:
        code = CodedConcept(value=_FROM_SRT[code.value], scheme="SCT", meaning=code.meaning)
    if code is not None and code.value == LUNG and laterality is not None:
        sided = _SIDED_LUNG.get(laterality.value)
        code = code if sided is None else sided
    return Structure(name, mask, code, laterality or _LATERALITY.get(code.value if code else ""))


def segmented(image: ExplainedImage) -> tuple[Structure, ...]:
    """What a segmentation package finds in an image of its own, on its own input grid.

    Of each segment the largest connected part, holes filled: fragments elsewhere are no anatomy. Notches in lungs of
    a planar image are filled too: a mass at the rim is looked for in the lung.
    """
    model, masks = image.model, image.regions
    assert masks is not None
    structures = []
    for spec, mask in zip(model.manifest.targets, masks, strict=True):
        if spec.background or not mask.any():
            continue
        whole = mask if mask.shape == model.spatial_shape else _nearest(mask, model.spatial_shape)
        structures.append(structure(spec.name, largest_part(whole), spec.code))
    return _usable(without_notches(structures))


def without_notches(structures: Sequence[Structure]) -> list[Structure]:
    """Lungs of a planar image closed by discs of NOTCH, where no other structure is."""
    if not structures or structures[0].mask.ndim != 2:
        return list(structures)
    taken = np.any([structure.mask for structure in structures], axis=0)
    return [
        replace(structure, mask=structure.mask | (_closed(structure.mask) & ~taken))
        if structure.code is not None and structure.code.value in _LATERALITY
        else structure
        for structure in structures
    ]


def _closed(mask: BoolArray) -> BoolArray:
    reach = round(NOTCH * max(mask.shape))
    padded = np.pad(mask, reach + 1)
    wide = ndimage.distance_transform_edt(~padded) <= reach
    closed = (ndimage.distance_transform_edt(wide) > reach) | padded
    inner = slice(reach + 1, -reach - 1)
    return np.asarray(ndimage.binary_fill_holes(closed)[inner, inner])


def largest_part(mask: BoolArray) -> BoolArray:
    """(*spatial) bool: the largest connected part, without holes; neighbours share a face."""
    parts, count = ndimage.label(mask)
    if count > 1:
        sizes = np.bincount(parts.ravel())[1:]
        mask = parts == 1 + int(sizes.argmax())
    return np.asarray(ndimage.binary_fill_holes(mask))


def partition(structures: Sequence[Structure]) -> list[BoolArray]:
    """A mask (*spatial) of each structure, sharing no voxel: what several structures cover belongs to the smallest."""
    order = sorted(range(len(structures)), key=lambda index: int(structures[index].mask.sum()))
    masks: list[BoolArray] = [structure.mask for structure in structures]
    taken = np.zeros(structures[0].mask.shape, bool)
    for index in order:
        masks[index] = structures[index].mask & ~taken
        taken |= structures[index].mask
    return masks


def _from_packages(case: Case, parameters: AnatomyParameters, method: str) -> tuple[Structure, ...]:
    model = case.model
    named = parameters.anatomy or model.manifest.companions.get("anatomy")
    if named is None and model.task == "segmentation":
        # Fragments count here: they are what the model answered, and its score is taken over all of them.
        masks = case.image.regions
        assert masks is not None
        return _usable(
            structure(spec.name, _nearest(mask, case.shape), spec.code)
            for spec, mask in zip(model.manifest.targets, masks, strict=True)
            if not spec.background
        )
    if named == STUDY:
        raise ArtefactMissing(
            f"{method}: expected a Segmentation of anatomy in the study, found none",
            advice="Send the Segmentation with the images, or name a package under companions.anatomy.",
        )
    companion = model.companion("anatomy", method=method, reference=parameters.anatomy)
    if companion.task != "segmentation":
        raise ExplanationError(
            f"{method}: {companion.identity} is no segmentation, so it finds no anatomy",
            advice="Name a package that segments anatomy, in `anatomy` or under companions.anatomy in model.yaml.",
        )
    return case.image.once(("anatomy", companion.package.digest), lambda: _by_companion(case, companion, method))


def _by_companion(case: Case, companion: Model, method: str) -> tuple[Structure, ...]:
    shown = on_grid_of(case.display[None], case.model, companion, method=method)
    segments = segmented(ExplainedImage(companion, as_input(shown, companion.manifest.input)))
    if companion.spatial_shape == case.shape:
        return segments
    return tuple(
        Structure(
            segment.name,
            np.asarray(resampled(segment.mask[None].astype(np.float32), case.shape)[0] >= 0.5),
            segment.code,
            segment.laterality,
        )
        for segment in segments
    )


def _usable(structures: Iterable[Structure]) -> tuple[Structure, ...]:
    return tuple(structure for structure in structures if int(structure.mask.sum()) >= LEAST_VOXELS)


def _nearest(mask: BoolArray, shape: tuple[int, ...]) -> BoolArray:
    resized = mask
    for axis, (size, wanted) in enumerate(zip(mask.shape, shape, strict=True)):
        if size != wanted:
            resized = np.take(resized, ((np.arange(wanted) + 0.5) * size / wanted).astype(int), axis=axis)
    return resized
