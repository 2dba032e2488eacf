"""What the head-CT package says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whyray_training.figures import with_interval
from whyray_training.head_ct_data import SHAPE, SPACING, WINDOW
from whyray_training.head_ct_labels import CLASSES

VERSION = "1.0.0"
CODES = {
    "soft-tissue": ("87784001", "SCT", "Soft tissue"),
    "bone": ("272673000", "SCT", "Bone"),
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
        "scope": {"body_parts": ["HEAD", "BRAIN", "SKULL"], "parts": {"soft-tissue": [0.01, 0.6], "bone": [0.02, 0.3]}},
    }


def head_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    rows = {
        part: "\n".join(
            f"| {name} | {kind} | {figures_of_kind['whole']:.3f} "
            f"| {with_interval(figures_of_kind['mean_of_slices'])} | {figures_of_kind['slices']} "
            f"| {figures_of_kind['threshold_rule']:.3f} |"
            for name, figures in metrics[part].items()
            for kind, figures_of_kind in figures.items()
        )
        for part in ("held_out", "shipped")
    }
    rivals = [figure for figures in metrics["held_out"].values() for figure in figures.values()]
    template = Path(__file__).with_name("head_ct_card.md").read_text(encoding="utf-8")
    return template.format(
        version=VERSION,
        rows=rows,
        below=sum(figure["whole"] < figure["threshold_rule"] for figure in rivals),
        compared=len(rivals),
        recipe=metrics["recipe"],
        parity=metrics["onnx_parity"],
        data=metrics["data"],
    )
