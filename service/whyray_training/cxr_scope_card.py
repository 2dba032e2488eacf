"""What the scope package says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whyray_training.cxr_scope_images import CLASSES, SIDE
from whyray_training.film_input import film_input

VERSION = "1.0.0"


def scope_manifest() -> dict[str, Any]:
    """The content of model.yaml."""
    return {
        "name": "cxr-scope",
        "version": VERSION,
        "title": "How a frontal chest radiograph lies in its image, if it is one (companion of chest packages)",
        "manufacturer": "WhyRay",
        "task": "classification",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Keeps chest packages from answering about images that they were not made for. "
        "Not for diagnostic use.",
        "input": film_input(SIDE),
        "output": {"name": "logits", "activation": "softmax", "features": "features", "embedding": "embedding"},
        "targets": [{"name": name} for name in CLASSES],
        "artefacts": {"scope": "scope.npz"},
    }


def scope_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    rows = "\n".join(f"| {name.replace('_', ' ')} | {share:.1%} |" for name, share in metrics["right"].items())
    refused = metrics.get("refused", {})
    limits = "\n".join(f"| {percentile} | {share:.1%} |" for percentile, share in refused.items())
    template = Path(__file__).with_name("cxr_scope_card.md").read_text(encoding="utf-8")
    return template.format(
        version=VERSION,
        side=SIDE,
        rows=rows,
        limits=limits,
        data=metrics["data"],
        recipe=metrics["recipe"],
        seed=metrics["seed"],
        parameters=metrics["parameters"],
        parity=metrics["onnx_parity"],
    )
