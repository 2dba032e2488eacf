"""What the concept-bottleneck package says about itself: the manifest and the card, filled from the figures."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Any

from whyray_training.cxr_card import CODES
from whyray_training.cxr_data import FINDINGS
from whyray_training.figures import with_interval
from whyray_training.film_input import SCOPE_COMPANION, film_input, film_scope
from whyray_training.other_patients_card import abnormal_section, confirmed, not_told_words

VERSION = "1.0.0"
RELIED_ON = 0.7
"""AUC from which a concept is relied on."""


def abnormal_manifest(metrics: dict[str, Any]) -> dict[str, Any]:
    """The content of model.yaml."""
    return {
        "name": "cxr-abnormal",
        "version": VERSION,
        "title": "Any finding on a frontal chest radiograph, by way of fourteen concepts (demonstration)",
        "manufacturer": "WhyRay",
        "task": "multi-label",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Demonstration of a concept bottleneck on a frontal chest radiograph. Not for diagnostic use."
        + not_told_words(metrics),
        "input": film_input(),
        "output": {"name": "logits", "activation": "sigmoid", "features": "features", "embedding": "embedding"},
        "targets": [
            {
                "name": "Abnormal",
                "code": {"value": "263654008", "scheme": "SCT", "meaning": "Abnormal"},
                "anatomy": {"value": "51185008", "scheme": "SCT", "meaning": "Thoracic structure"},
                "threshold": metrics["threshold"],
                "calibration": metrics["calibration"],
            }
        ],
        "companions": {"anatomy": "cxr-anatomy@1", **SCOPE_COMPANION},
        "scope": film_scope(),
        "concepts": {
            "output": "concepts",
            "activation": "sigmoid",
            "names": [
                {
                    "name": finding,
                    "code": dict(zip(("value", "scheme", "meaning"), CODES[finding], strict=True)),
                    "threshold": metrics["concepts"][finding]["threshold"],
                    # of one that no held-out image shows, or all do, nothing is known
                    "held_out_auc": None if isnan(known := _known(metrics, finding)) else known,
                }
                for finding in FINDINGS
            ],
        },
    }


def abnormal_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    others = metrics.get("other_patients", {"concepts": {}, "targets": {}})
    of_others = others["concepts"]
    rows = [
        f"| {name} | {figures['positives']} | {confirmed(figures['auc'], of_others.get(name))} | {figures['ece']:.3f} "
        f"| {figures['threshold']:.3f} | {metrics['head_weights'][name]:.2f} "
        f"| {'yes' if _known(metrics, name) >= RELIED_ON else 'no'} |"
        for name, figures in metrics["concepts"].items()
    ]
    template = Path(__file__).with_name("cxr_concepts_card.md").read_text(encoding="utf-8")
    reliable = sum(_known(metrics, name) >= RELIED_ON for name in metrics["concepts"])
    return template.format(
        version=VERSION,
        others=abnormal_section(metrics),
        rows="\n".join(rows),
        auc=confirmed(metrics["auc"], others["targets"].get("Abnormal")),
        black=with_interval(metrics["black_box_auc"]),
        gain=with_interval(metrics["gain_over_black_box"]),
        small=confirmed(metrics["at_64_pixels"], others["targets"].get("Abnormal")),
        reliable=reliable,
        m=metrics,
        recipe=metrics["recipe"],
        data=metrics["data"],
        parity=metrics["onnx_parity"],
    )


def _known(metrics: dict[str, Any], finding: str) -> float:
    """The AUC of a concept on other patients; of one too rare there, that of the cross-validation."""
    others = metrics.get("other_patients", {"concepts": {}})["concepts"]
    return float(others.get(finding, metrics["concepts"][finding])["auc"]["value"])
