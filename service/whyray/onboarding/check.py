"""`whyray package check`: everything that is wrong with a package, in one list, without stopping at the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from whyray.base.errors import WhyRayError
from whyray.inference import WITHOUT_MAPS, Model, RuntimeOptions, cast_to, load_package
from whyray.inference.local_evidence import refuse_false_evidence
from whyray.onboarding.companion_check import missing_companions, unnamed_companions
from whyray.packages import read_package


@dataclass(frozen=True)
class Finding:
    """One thing found: an error keeps the package from working, a warning does not."""

    severity: Literal["error", "warning"]
    message: str
    advice: str


@dataclass(frozen=True)
class PackageCheck:
    """All that was found, and what of the model is explained, in words."""

    findings: tuple[Finding, ...]
    explained: tuple[str, ...]
    beside: tuple[str, ...] = ()
    """Companions that the package could have and does not name: what that means, and how one is added."""


def check_package(folder: Path, options: RuntimeOptions | None = None, search: Iterable[Path] = ()) -> list[Finding]:
    """Read the package, load its graph and run it on noise; an empty list means that all is well.

    `search` names folders in which companions are looked for, beside the bundled ones.
    """
    return list(checked_package(folder, options, search).findings)


def checked_package(folder: Path, options: RuntimeOptions | None = None, search: Iterable[Path] = ()) -> PackageCheck:
    """As `check_package`, with the tensors that explanations are made of, and what could stand beside the package."""
    try:
        options, search = options or RuntimeOptions(), tuple(search)
        beside = partial(load_package, search=search, options=options)
        return checked_model(Model(read_package(folder), options, beside))
    except WhyRayError as error:
        return _ended_by(error, [])


def checked_model(model: Model) -> PackageCheck:
    """As `checked_package`, of a package that is loaded."""
    findings: list[Finding] = []
    try:
        findings += _about_the_folder(model)
        findings += _about_companions(model)
        x = np.random.default_rng(0).uniform(0, 1, model.network.input_shape).astype(np.float32)
        model.answer_on_the_image(model.logits(x))
        findings += _about_the_graph(model)
        _ = model.reported_tier
        refuse_false_evidence(model, (model.network.checked_input(image) for image in (x, 1 - x, x * 0.5)))
        several = np.repeat(x, 3, axis=0) * np.array([0.5, 1, 2]).reshape(3, *[1] * (x.ndim - 1))
        if not model.session.batchable(model.network.checked_input(several)):
            findings.append(
                Finding(
                    "warning",
                    "the graph takes one item at a time; perturbation methods are slower",
                    "Export it with a dynamic batch.",
                )
            )
        return PackageCheck(tuple(findings), tuple(_explained(model)), tuple(unnamed_companions(model)))
    except WhyRayError as error:
        return _ended_by(error, findings)


def _ended_by(error: WhyRayError, findings: Sequence[Finding]) -> PackageCheck:
    own = error.advice if error.advice != error.default_advice else _WHAT_TO_DO
    return PackageCheck((*findings, Finding("error", str(error), own)), ())


_APART = 0.2
"""Cells by which ways through a graph may lay a map apart before the check says so."""
_WHAT_TO_DO = "Correct what is named, in model.yaml or by exporting the graph again; its author knows its tensors."
"""Where an error has no advice of its own: that of its class sends to this very check."""


def _about_the_folder(model: Model) -> list[Finding]:
    manifest, folder = model.manifest, model.package.folder.resolve()
    findings = []
    if (folder.parent.name, folder.name) != (manifest.name, manifest.version):
        findings.append(
            Finding(
                "warning",
                f"the folder is {folder.parent.name}/{folder.name}, not {manifest.name}/{manifest.version}",
                "A registry finds packages by NAME/VERSION/: rename the folder.",
            )
        )
    if not (folder / manifest.card).is_file():
        findings.append(
            Finding("warning", f"no model card at {manifest.card}", "Write what the model was trained and measured on.")
        )
    if not model.package.report.is_file():
        findings.append(
            Finding("warning", "not onboarded: tiers and metrics are not measured", "Run `whyray package onboard`.")
        )
    return findings


def _about_companions(model: Model) -> list[Finding]:
    """Without its scope a package says nothing of any image: an error. The others cost explanations."""
    return [
        Finding("error" if role == "scope" else "warning", message, advice)
        for role, message, advice in missing_companions(model)
    ]


def _about_the_graph(model: Model) -> list[Finding]:
    findings = [
        Finding(
            "warning",
            f"input {name!r} is {other.value} for every patient: {other.meaning}",
            "Be sure that the model may be used so; its answers and explanations hold under that assumption.",
        )
        for name, other in model.manifest.input.others.items()
    ]
    kind = cast_to(model.network.graph.proto)
    if kind is not None:
        whole = "rounded to whole numbers of its range and " if "int" in kind else ""
        findings.append(
            Finding(
                "warning",
                f"input {model.manifest.input.name!r} takes {kind}: images are {whole}cast on the way in",
                "Be sure that input.intensity in model.yaml gives the values that the model was trained on.",
            )
        )
    if model.session.output_doubt:
        findings.append(
            Finding(
                "warning",
                model.session.output_doubt,
                "Look at how the model was trained; if it gives probabilities, set output.activation to none.",
            )
        )
    if model.network.features_name is not None and model.network.features.reason:
        findings.append(
            Finding(
                "warning",
                f"class activation maps don't show what the model saw last: {model.network.features.reason}",
                f"Leave output.features out, and explain it with {WITHOUT_MAPS}.",
            )
        )
    layer = model.network.features_name
    if layer is not None and not model.network.placement(layer).known:
        findings.append(
            Finding(
                "warning",
                "where its class activation maps lie can't be told from its operators: they are drawn edge to edge "
                "over the image, and a slight crop or shift in the graph would not be seen",
                "Compare them with occlusion, which asks the whole graph, on images whose findings you know.",
            )
        )
    apart = 0.0 if layer is None else model.network.placement(layer).apart
    if apart > _APART and model.manifest.task != "segmentation":  # there coarse and fine maps meet on purpose
        findings.append(
            Finding(
                "warning",
                f"ways through the graph lay its class activation maps up to {apart:.2g} cells apart: they are drawn "
                "where the straightest way has them",
                "Compare them with occlusion, which asks the whole graph, on images whose findings you know.",
            )
        )
    if model.targets and model.network.features_name is None:
        findings.append(
            Finding(
                "warning",
                f"class activation maps are not possible: {model.network.features.reason}",
                f"Explain it with {WITHOUT_MAPS}; or name a map (N, channels, *grid) of the graph in output.features.",
            )
        )
    return findings


def _explained(model: Model) -> Iterator[str]:
    """What explanations are of, and the layer of the class activation maps with its grid and channels."""
    if not model.targets:
        return
    form, named = model.network.form, model.manifest.output
    before = "" if form.activation == "none" else f" before {form.activation}"
    yield f"explained: output {named.name!r}{before}; explanations are parts of the {form.unit}"
    spec = model.manifest.evidence
    if spec is not None:
        yield f"local evidence: of {spec.output!r}; its sum and evidence.bias are the {form.unit} of each target"
    if model.network.features_name is None:
        yield "class activation maps: none"
        return
    shape = model.network.graph.shapes.get(model.network.features_name, ())
    grid = " × ".join(str(size or "?") for size in shape[2:])
    how = "named in model.yaml" if named.features is not None else "chosen"
    yield f"class activation maps: of {model.network.features.name!r} ({how}), grid {grid}, {shape[1] or '?'} channels"
