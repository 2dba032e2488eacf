"""What the head-CT package says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whyray.training.head_ct_data import SHAPE, SPACING, WINDOW
from whyray.training.head_ct_labels import CLASSES

VERSION = "1.0.0"
CODES = {
    "soft-tissue": ("87784001", "SCT", "Soft tissue"),
    "bone": ("272673000", "SCT", "Bone"),
    "intracranial": ("128319008", "SCT", "Intracranial structure"),
}


def head_manifest() -> dict[str, Any]:
    """The content of model.yaml."""
    head = {"value": "69536005", "scheme": "SCT", "meaning": "Head"}
    targets: list[dict[str, Any]] = []
    for name in CLASSES:
        if name not in CODES:
            targets.append({"name": name, "background": True})
            continue
        code = dict(zip(("value", "scheme", "meaning"), CODES[name], strict=True))
        targets.append({"name": name, "code": code, "anatomy": head, "threshold": 0.5})
    return {
        "name": "head-ct-tissue",
        "version": VERSION,
        "title": "Tissue of the head on CT, in 3-D (demonstration)",
        "manufacturer": "WhyRay",
        "task": "segmentation",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Demonstration of 3-D explanations on CT of the head. Not for diagnostic use.",
        "input": {
            "name": "image",
            "layout": "NCDHW",
            "kind": "volume",
            "shape": list(SHAPE),
            "channels": 1,
            "spacing": list(SPACING),
            "pad_value": 0.0,
            "intensity": {"source": "modality", "window": list(WINDOW), "mean": [0.0], "std": [1.0]},
            "modalities": ["CT"],
        },
        "output": {"name": "logits", "activation": "softmax", "features": "features"},
        "targets": targets,
    }


def head_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    rows = []
    for name, figures in metrics["held_out"].items():
        for kind in CLASSES[1:]:
            each, rule = figures["dice"][kind], figures["threshold_rule"].get(kind)
            rows.append(
                f"| {name} | {kind} | {figures['whole'][kind]:.3f} "
                f"| {each['value']:.3f} ({each['low']:.3f} to {each['high']:.3f}) "
                f"| {figures['slices'][kind]} | {'none' if rule is None else f'{rule:.3f}'} |"
            )
    template = Path(__file__).with_name("head_ct_card.md").read_text(encoding="utf-8")
    return template.format(
        version=VERSION,
        rows="\n".join(rows),
        recipe=metrics["recipe"],
        parity=metrics["onnx_parity"],
        data=metrics["data"],
    )
