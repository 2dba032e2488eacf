"""What the anatomy package says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whyray_training.figures import with_interval
from whyray_training.film_input import SCOPE_COMPANION, film_input, film_scope
from whyray_training.other_patients_card import anatomy_section

VERSION = "1.0.0"
CODES = {
    "right lung": ("3341006", "SCT", "Right lung"),
    "left lung": ("44029006", "SCT", "Left lung"),
    "heart": ("80891009", "SCT", "Heart"),
    "mediastinum": ("72410000", "SCT", "Mediastinum"),
}


def anatomy_manifest() -> dict[str, Any]:
    """The content of model.yaml. The grid is that of cxr-findings, so that structures need no resampling."""
    targets: list[dict[str, Any]] = [{"name": "background", "background": True}]
    for name, code in CODES.items():
        coded = dict(zip(("value", "scheme", "meaning"), code, strict=True))
        targets.append({"name": name, "code": coded, "anatomy": dict(coded)})
    return {
        "name": "cxr-anatomy",
        "version": VERSION,
        "title": "Lungs, heart and mediastinum on a frontal chest radiograph (demonstration)",
        "manufacturer": "WhyRay",
        "task": "segmentation",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Structures for explanations of answers about frontal chest radiographs. "
        "Not for diagnostic use.",
        "input": film_input(),
        "output": {"name": "logits", "activation": "softmax", "features": "features"},
        "targets": targets,
        "companions": dict(SCOPE_COMPANION),
        "scope": film_scope(),
    }


def anatomy_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    checked = metrics["hand_check"]
    rows = "\n".join(
        f"| {name} | {with_interval(figures)} | {figures['worst']:.3f} | {figures['images']} "
        f"| {with_interval(checked['first_round'][name])} | {_of_rules(checked['rules'].get(name))} |"
        for name, figures in checked["shipped"].items()
    )
    areas = "\n".join(
        f"| {name} | {low:.1%} | {middle:.1%} | {high:.1%} |"
        for name, (low, middle, high) in metrics["plausible"]["areas"].items()
    )
    template = Path(__file__).with_name("cxr_anatomy_card.md").read_text(encoding="utf-8")
    return template.format(
        version=VERSION,
        others=anatomy_section(metrics),
        rows=rows,
        areas=areas,
        data=metrics["data"],
        recipe=metrics["recipe"],
        seed=metrics["seed"],
        plausible=metrics["plausible"],
        parity=metrics["onnx_parity"],
    )


def _of_rules(figure: dict[str, float] | None) -> str:
    return "none" if figure is None else f"{figure['value']:.3f} ({figure['images']} images)"
