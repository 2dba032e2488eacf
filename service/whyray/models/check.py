"""`whyray package check`: everything that is wrong with a package, in one list, without stopping at the first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from whyray.errors import WhyRayError
from whyray.models.input_type import cast_to
from whyray.models.model import Model
from whyray.models.package import read_package
from whyray.models.session import RuntimeOptions


@dataclass(frozen=True)
class Finding:
    """One thing found: an error keeps the package from working, a warning does not."""

    severity: Literal["error", "warning"]
    message: str
    advice: str


def check_package(folder: Path, options: RuntimeOptions | None = None) -> list[Finding]:
    """Read the package, load its graph and run it on noise; an empty list means that all is well."""
    try:
        model = Model(read_package(folder), options or RuntimeOptions())
        findings = _about_the_folder(model)
        x = np.random.default_rng(0).uniform(0, 1, model.input_shape).astype(np.float32)
        model.predict(x)
        findings += _about_the_graph(model)
        _ = model.reported_tier
    except WhyRayError as error:
        return [Finding("error", str(error), error.advice)]
    if not model.batchable(
        model.channels_first(np.repeat(x, 3, axis=0) * np.array([0.5, 1, 2]).reshape(3, *[1] * (x.ndim - 1)))
    ):
        findings.append(
            Finding(
                "warning",
                "the graph takes one item at a time; perturbation methods are slower",
                "Export it with a dynamic batch.",
            )
        )
    return findings


def _about_the_folder(model: Model) -> list[Finding]:
    manifest, folder = model.manifest, model.package.folder
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


def _about_the_graph(model: Model) -> list[Finding]:
    found = model.graph.before_activation(model.manifest.output.name)[1]
    if found is not None and model.manifest.output.activation != "none":
        return [
            Finding(
                "error",
                f"output {model.manifest.output.name!r} already ends in {found}, and model.yaml applies "
                f"{model.manifest.output.activation} to it again",
                "Set output.activation to none (WhyRay then explains what lies before the graph's own activation).",
            )
        ]
    assumed = [
        Finding(
            "warning",
            f"input {name!r} is {other.value} for every patient: {other.meaning}",
            "Be sure that the model may be used so; its answers and explanations hold under that assumption.",
        )
        for name, other in model.manifest.input.others.items()
    ]
    kind = cast_to(model.graph.proto)
    if kind is not None:
        whole = "rounded to whole numbers of its range and " if "int" in kind else ""
        assumed.append(
            Finding(
                "warning",
                f"input {model.manifest.input.name!r} takes {kind}: images are {whole}cast on the way in",
                "Be sure that input.intensity in model.yaml gives the values that the model was trained on.",
            )
        )
    if model.features_name is None:
        return [
            *assumed,
            Finding(
                "warning", "no feature maps found: class activation maps are not possible", "Name output.features."
            ),
        ]
    return assumed
