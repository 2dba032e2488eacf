"""Onboarding: what a package can give and how well, measured once on given images and written into the package."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError
from whyray.base.statistics import evenly_spread
from whyray.explain import (
    NORMAL_CONTRAST,
    NORMAL_MAPS,
    Method,
    Progress,
    heatmap_methods,
    preferred_map,
)
from whyray.inference import Model
from whyray.inference.local_evidence import refuse_false_evidence
from whyray.onboarding.calibration import calibration
from whyray.onboarding.discrimination import discrimination
from whyray.onboarding.engine_measuring import about_model, measured_engines
from whyray.onboarding.localisation import MarkedFinding
from whyray.onboarding.marked_findings import MOST_FORWARDS, MarkedFindings
from whyray.onboarding.method_measuring import MethodMeasuring, made_of_another
from whyray.onboarding.normal_maps import keep_normal_maps
from whyray.onboarding.onboarding_page import page
from whyray.onboarding.questions import OnboardingImage, questions_of, spread
from whyray.packages import write_artefact
from whyray.packages.report_warnings import DISCRIMINATION, LEARNED
from whyray.quality import (
    known_answers,
    learned_weights_entry,
    measured_space,
)

REFERENCES = 16
"""Images that are kept for expected-gradients."""


def onboard(
    model: Model,
    images: Sequence[OnboardingImage | FloatArray],
    *,
    only: Sequence[str] = (),
    explained: int = 12,
    localised: int = 200,
    keep_images: bool = True,
    seed: int = 0,
    made: date | None = None,
    progress: Progress | None = None,
    held_out: Mapping[str, Model] | None = None,
    contrasted: Sequence[str] = (),
    forwards: int = MOST_FORWARDS,
    this_machine: bool = True,
) -> dict[str, Any]:
    """Measure tier, parity, batch, time and the maps' quality of a package; write and return the report.

    `images`: one at least, more say more; arrays stand for images of which nothing more is known. `only` names methods;
    empty takes all. Maps are made of at most `explained` images, those with marks first: of the targets that are
    marked, else of the strongest answer; where they point is measured on up to `localised` images with marks.
    Embeddings and calibration are of all images; of 20 images without findings, or more, the artefact `normal-maps` is
    made. Artefacts are made on the day `made` (today). Writes `onboarding/report.json`,
    `report.html` and pictures into the package's folder, embeddings, and with `keep_images` images as references for
    expected-gradients; without, no pixel of an image is kept.

    `held_out` gives by patient a model of the same recipe whose weights had not seen that patient: where maps point,
    and how far methods agree, is then told by these, and marks of other patients are left out. Without it, it is for
    the caller to know whether the package learned from the images. `contrasted` names the methods whose maps of images
    without findings are kept; empty takes all that are cheap enough. `forwards` bounds the passes for the marked
    findings of one method. Without `this_machine`, batches and compiled gradients are not measured: what is given to
    others says nothing of their machines.
    Raises PackageError where the package does not run, or no image is given.
    """
    given = _checked_images(model, images)
    evidence = _local_evidence(model, given)
    chosen = [method for method in heatmap_methods() if not only or method.name in only]
    folder = _without_earlier_results(model)
    x = model.network.checked_input(given[0].x)
    model.gradients.prove_on(x)
    report = about_model(model, x, len(given)) | (measured_engines(model, x, chosen) if this_machine else {})
    made = made or date.today()
    report |= evidence | _about_images(model, given, made, seed, keep_images)
    steps = _Steps(progress, len(chosen))
    marks = _marked(given, localised, held_out)
    findings = MarkedFindings(model, marks, seed, steps, held_out=held_out, forwards=forwards)
    asked = questions_of(model, given, explained)
    measuring = MethodMeasuring(model, asked, findings, folder, seed=seed, keep_images=keep_images, progress=steps)
    entries = {}
    # Maps that are made of another method's come last: they are made of the one that points best.
    for method in sorted(chosen, key=made_of_another):
        if method.name == NORMAL_CONTRAST:
            report |= _normal_maps(model, given, chosen, contrasted, made, steps)
        entries[method.name] = measuring.entry(method)
        steps.done += 1
    proofs = [dict(proof) for proof in model.gradients.proofs]
    report |= {"methods": entries, "proofs": proofs, **measuring.agreement()}
    steps("done")
    return _written(report, model)


class _Steps:
    """Progress in methods: how many are done, and in words what is being done now."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self.done = 0

    def __call__(self, words: str) -> None:
        if self._progress is not None:
            self._progress(self.done, self._total, words)


def _checked_images(model: Model, images: Sequence[OnboardingImage | FloatArray]) -> list[OnboardingImage]:
    given = [image if isinstance(image, OnboardingImage) else OnboardingImage(image) for image in images]
    if not given:
        raise PackageError(f"{model.identity}: onboarding needs an image", advice="Name a folder with --images.")
    if not model.targets:
        raise PackageError(
            f"{model.identity} is an {model.task}: it answers nothing, so there is nothing to measure",
            advice="`whyray package check` it; onboard the package beside which it stands.",
        )
    _ = model.network.graph  # a graph that contradicts its manifest is refused before anything is written
    _refuse_what_does_not_fit(model, given)
    return given


def _local_evidence(model: Model, images: Sequence[OnboardingImage]) -> dict[str, Any]:
    """What the report says of the package's own evidence, if it gives any; refused where that isn't the answer's."""
    gap = refuse_false_evidence(model, (model.network.checked_input(image.x) for image in images))
    return {} if gap is None else {"local evidence": {"largest gap of a sum": gap}}


def _without_earlier_results(model: Model) -> Path:
    """The folder that results go into; an earlier report would be believed, or refused, meanwhile."""
    package = model.package
    folder = package.report.parent
    folder.mkdir(exist_ok=True)
    earlier = (package.report, package.references, package.embeddings, folder / f"{NORMAL_MAPS}.npz")
    for path in (*earlier, *folder.glob("*.png")):
        path.unlink(missing_ok=True)
    return folder


def _about_images(
    model: Model, images: Sequence[OnboardingImage], made: date, seed: int, keep_images: bool
) -> dict[str, Any]:
    """What the report says of embeddings, weights and answers; writes what is kept of the images."""
    report: dict[str, Any] = {}
    if keep_images:
        kept = [image.x for image in spread(images, REFERENCES)]
        np.save(model.package.references, np.concatenate([x.reshape(model.network.input_shape) for x in kept]))
    space = measured_space(model, [image.x for image in images])
    if space is not None:
        np.save(model.package.embeddings, space[0])
        report["case space"] = space[1]
    report[LEARNED] = learned_weights_entry(model)
    report["known answers"] = _written_down(model, model.package.report.parent, made)
    if any(image.labels for image in images):
        report |= _against_labels(model, images, seed)
    return report


def _normal_maps(
    model: Model,
    images: Sequence[OnboardingImage],
    chosen: Sequence[Method],
    contrasted: Sequence[str],
    made: date,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Write the artefact `normal-maps`, where images without findings are enough; what the report says of it."""
    normals = [image.x for image in images if image.labels and not any(image.labels.values())]
    sources = [method for method in chosen if not made_of_another(method)]
    sources = sources or [source for source in heatmap_methods() if source.name == preferred_map(model).of]
    sources = [source for source in sources if not contrasted or source.name in contrasted]
    kept = keep_normal_maps(model, normals, sources, made, progress)
    return {"normal maps": list(kept)} if kept else {}


def _written(report: dict[str, Any], model: Model) -> dict[str, Any]:
    """The report, once it and its page are in the package."""
    path = model.package.report
    path.with_suffix(".html").write_text(page(report, model.package), encoding="utf-8")
    part = path.with_name(".report.json.part")  # a report is there whole, or the package has not been onboarded
    part.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(path)
    return report


def _written_down(model: Model, folder: Path, made: date) -> str:
    """Keep how the package answers made pictures, by which cards know it again; in words, whether that could be."""
    path = folder / f"{known_answers.KIND}.npz"
    path.unlink(missing_ok=True)
    try:
        write_artefact(path, *known_answers.known_answers(model, made=made))
    except PackageError as error:
        return error.message
    return "written down"


def _refuse_what_does_not_fit(model: Model, images: Sequence[OnboardingImage]) -> None:
    for image in images:
        model.network.checked_input(image.x)
        for name in (*image.truth, *image.labels):
            model.target_index(name)
        for name, mask in image.truth.items():
            if mask.shape != model.spatial_shape or not mask.any():
                raise PackageError(
                    f"{model.identity}: the mark of {name} has shape {mask.shape} and {int(mask.sum())} places, "
                    f"expected {model.spatial_shape} and one place or more",
                    advice="Leave out targets that are not marked.",
                )


def _marked(images: Sequence[OnboardingImage], most: int, held_out: Mapping[str, Model] | None) -> list[MarkedFinding]:
    marked = [
        (number, image)
        for number, image in enumerate(images)
        if image.truth and (held_out is None or image.patient in held_out)
    ]
    return [
        MarkedFinding(image.patient or f"image {number}", number, image.x, target, truth)
        for number, image in (marked[place] for place in evenly_spread(len(marked), most))
        for target, truth in image.truth.items()
    ]


def _against_labels(model: Model, images: Sequence[OnboardingImage], seed: int) -> dict[str, Any]:
    labels = np.array([[image.labels.get(name, np.nan) for name in model.targets] for image in images], np.float64)
    if model.task in ("regression", "segmentation"):
        raise PackageError(
            f"{model.identity}: labels are for probabilities of findings, and this is a {model.task}",
            advice="Leave out --labels.",
        )
    answers = np.concatenate([model.predict(image.x) for image in images])
    return {
        "calibration": calibration(model.targets, answers, labels, seed),
        DISCRIMINATION: discrimination(model.targets, answers, labels, [image.patient for image in images]),
    }
