"""Onboarding: what a package can give and how well, measured once on given images and written into the package."""

from __future__ import annotations

import json
import logging
import time
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
    Heatmap,
    Method,
    Progress,
    explained_image,
    heatmap_methods,
    heatmaps,
    preferred_map,
    why_not,
)
from whyray.explain.refusal import ends_all, refusal_of
from whyray.inference import Model
from whyray.inference.local_evidence import refuse_false_evidence
from whyray.onboarding.calibration import calibration
from whyray.onboarding.compared_maps import ComparedMaps
from whyray.onboarding.discrimination import discrimination
from whyray.onboarding.engine_measuring import about_model, measured_engines
from whyray.onboarding.localisation import MarkedFinding
from whyray.onboarding.marked_findings import MOST_FORWARDS, MarkedFindings
from whyray.onboarding.normal_maps import keep_normal_maps
from whyray.onboarding.onboarding_page import page, picture
from whyray.onboarding.questions import OnboardingImage, Question, questions_of, spread
from whyray.onboarding.randomisation_check import randomisation_check
from whyray.packages import find_artefact, write_artefact
from whyray.packages.randomisation_report import randomised_maps_of
from whyray.packages.report_warnings import DISCRIMINATION, LEARNED
from whyray.quality import (
    Budget,
    Grade,
    assess,
    known_answers,
    learned_weights_entry,
    measured_space,
    randomised,
)

QUICK: Mapping[str, Mapping[str, Any]] = {
    "rise": {"masks": 256},
    "lime": {"samples": 256},
    "kernel-shap": {"samples": 256},
    "score-cam": {"channels": 32},
    "smooth-grad": {"samples": 16},
    "extremal-perturbation": {"areas": (0.1, 0.2), "rounds": 5, "population": 24},
    "expected-gradients": {"samples": 32},
}
"""Parameters that bound a method's cost here; the report names them."""
_log = logging.getLogger(__name__)
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
    made = made or date.today()
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
    evidence_gap = refuse_false_evidence(model, (model.network.checked_input(image.x) for image in given))
    chosen = [method for method in heatmap_methods() if not only or method.name in only]
    folder = model.package.report.parent
    folder.mkdir(exist_ok=True)
    normal = folder / f"{NORMAL_MAPS}.npz"
    for stale in (
        model.package.report,
        model.package.references,
        model.package.embeddings,
        normal,
        *folder.glob("*.png"),
    ):
        stale.unlink(missing_ok=True)  # an earlier report would be believed, or refused, meanwhile
    model.gradients.prove_on(model.network.checked_input(given[0].x))
    x = model.network.checked_input(given[0].x)
    report = about_model(model, x, len(given)) | (measured_engines(model, x, chosen) if this_machine else {})
    if evidence_gap is not None:
        report["local evidence"] = {"largest gap of a sum": evidence_gap}
    if keep_images:
        kept = [image.x for image in spread(given, REFERENCES)]
        np.save(model.package.references, np.concatenate([x.reshape(model.network.input_shape) for x in kept]))
    space = measured_space(model, [image.x for image in given])
    if space is not None:
        np.save(model.package.embeddings, space[0])
        report["case space"] = space[1]
    report[LEARNED] = learned_weights_entry(model)
    report["known answers"] = _written_down(model, folder, made)
    if any(image.labels for image in given):
        report |= _against_labels(model, given, seed)
    report["methods"] = {}
    asked = questions_of(model, given, explained)
    step = 0

    def tell(words: str) -> None:
        if progress is not None:
            progress(step, len(chosen), words)

    compared = ComparedMaps(model)
    findings = MarkedFindings(
        model, _marked(given, localised, held_out), seed, tell, held_out=held_out, forwards=forwards
    )
    # Made once for all methods: converting and verifying twins of a large graph takes longer than most maps.
    changed = tuple(randomised(model, np.random.default_rng(seed)))
    # Maps that are made of another method's come last: they are made of the one that points best.
    sources = [method for method in chosen if not _made_of_another(method)]
    for number, method in enumerate(sorted(chosen, key=_made_of_another)):
        step = number
        if method.name == NORMAL_CONTRAST:
            normals = [image.x for image in given if image.labels and not any(image.labels.values())]
            known = sources or [source for source in heatmap_methods() if source.name == preferred_map(model).of]
            known = [source for source in known if not contrasted or source.name in contrasted]
            kept_maps = keep_normal_maps(model, normals, known, made, tell)
            report |= {"normal maps": list(kept_maps)} if kept_maps else {}
        tell(method.name)
        refusal = why_not(method, model)
        if refusal is not None:
            entry: dict[str, Any] = {"refused": refusal.message}
        else:
            entry = _method(model, method, asked, changed, findings, compared, seed, folder, keep_images, tell)
            maps = randomised_maps_of(entry)
            if maps is not None and maps.independent:
                findings.passed_over.add(method.name)
        report["methods"][method.name] = {"tier": method.tier, "deliverable": method.deliverable, **entry}
    agreed = compared.measured(seed)
    report |= {} if agreed is None else {"agreement": agreed}
    report["proofs"] = [dict(proof) for proof in model.gradients.proofs]
    if progress is not None:
        progress(len(chosen), len(chosen), "done")
    (folder / "report.html").write_text(page(report, model.package), encoding="utf-8")

    part = folder / ".report.json.part"  # a report is there whole, or the package has not been onboarded
    part.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(model.package.report)
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


def _made_of_another(method: Method) -> bool:
    return "of" in method.Parameters.model_fields


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


def _method(
    model: Model,
    method: Method,
    asked: Sequence[Question],
    changed: Sequence[tuple[str, Model]],
    findings: MarkedFindings,
    compared: ComparedMaps,
    seed: int,
    folder: Path,
    keep_images: bool,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    name = method.name
    parameters = {**QUICK.get(name, {}), **model.manifest.methods.get(name, {})}
    if _made_of_another(method) and "of" not in parameters:
        known = find_artefact(model, NORMAL_MAPS) if name == NORMAL_CONTRAST else None
        of = (
            findings.best
            if known is None
            else findings.best_source(method, [*known.facts.details["methods"]], parameters)
        )
        parameters |= {} if of is None else {"of": of}
    maps: list[Heatmap] = []
    grades: dict[str, int] = {"green": 0, "amber": 0, "red": 0}
    spent: list[float] = []
    cost: list[int] = []
    refusals: list[str] = []
    answered: list[Question] = []
    for number, question in enumerate(asked, start=1):
        tell(f"{name}: map {number} of {len(asked)}")
        image = explained_image(model, question.x)
        before, started = model.session.forwards, time.perf_counter()
        try:
            heatmap = heatmaps(model, image, target=[question.target], method=name, **parameters)[0]
            seconds, forwards = time.perf_counter() - started, model.session.forwards - before
            # whether such maps lie right is what is found out here: the card is asked whether they are faithful
            card = assess(model, image, heatmap, budget=Budget(repeats=False), seed=seed)
            grade = card.answers.get("model", Grade.RED)
        except Exception as error:  # of this method alone: the others are measured
            if ends_all(error):
                raise
            refusals.append(refusal_of(_log, error, name).message)
            continue
        spent.append(seconds)
        cost.append(forwards)
        maps.append(heatmap)
        answered.append(question)
        grades[grade.value] += 1
    if not maps:
        return {"refused": refusals[0]}
    tell(f"{name}: randomisation check")
    shown = model.network.checked_input(answered[0].x) if keep_images else None
    (folder / f"{name}.png").write_bytes(picture(shown, maps[0]))
    made = {(question.image, question.target): heatmap for question, heatmap in zip(answered, maps, strict=True)}
    located = findings.measure(method, parameters, made)
    if method.kind == "attribution map" and method.deliverable:
        compared.add(findings.maps if findings.by_held_out else made)
    return {
        "parameters": dict(maps[0].parameters),
        "seconds": round(float(np.median(spent)), 5),
        "forward passes": int(np.median(cost)),
        "grades": grades,
        "refusals": refusals,
        "sanity": randomisation_check(model, name, answered, maps, changed, parameters, seed),
        **({} if located is None else {"localisation": located.model_dump(mode="json")}),
    }
