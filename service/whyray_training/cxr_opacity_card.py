"""What cxr-opacity says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whyray_training.cxr_local_net import INPUT_SIZE
from whyray_training.figures import with_interval
from whyray_training.film_input import SCOPE_COMPANION, film_input, film_scope

VERSION = "1.1.0"


def opacity_manifest(metrics: dict[str, Any]) -> dict[str, Any]:
    """The content of model.yaml."""
    return {
        "name": "cxr-opacity",
        "version": VERSION,
        "title": "Lung opacity on a frontal chest radiograph (demonstration)",
        "manufacturer": "WhyRay",
        "task": "multi-label",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Demonstration of explanations on a frontal chest radiograph. Not for diagnostic use.",
        "input": film_input(INPUT_SIZE),
        "output": {"name": "logits", "activation": "sigmoid", "features": "features", "embedding": "embedding"},
        "targets": [
            {
                "name": "Lung Opacity",
                "code": {"value": "cxr-opacity", "scheme": "99WHYRAY", "meaning": "Lung opacity"},
                "anatomy": {"value": "39607008", "scheme": "SCT", "meaning": "Lung"},
                "threshold": metrics["threshold"],
                "calibration": metrics["calibration"],
                "prevalence": metrics["prevalence"],
            }
        ],
        "evidence": {"output": "evidence", "bias": [metrics["recipe"]["floor"]]},
        "companions": {"autoencoder": "cxr-autoencoder@1", "anatomy": "cxr-anatomy@1", **SCOPE_COMPANION},
        "scope": film_scope(),
    }


def opacity_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    template = Path(__file__).with_name("cxr_opacity_card.md").read_text(encoding="utf-8")
    return template.format(
        version=VERSION,
        folds=metrics["folds"],
        seed=metrics["seed"],
        data=metrics["data"],
        counts=metrics["counts"],
        recipe=metrics["recipe"],
        auc=with_interval(metrics["auc"]["normal"]),
        auc_read=with_interval(metrics["auc"]["normal_as_read"]),
        auc_other=with_interval(metrics["auc"]["other"]),
        normals=with_interval(metrics["normals_called"]),
        metrics=metrics,
        rows=rows_of_maps(metrics["maps"]),
        nih_rows=rows_of_maps(metrics["nih_maps"]),
        parity=metrics["onnx_parity"],
    )


def rows_of_maps(maps: dict[str, Any]) -> str:
    """Rows of a table: hits, overlap and AUPRC of the evidence and of the simple maps; '' where no image has boxes."""
    rows: list[str] = []
    if not maps["images"]:
        return ""
    for way, name in (
        ("evidence", "**this model's evidence**"),
        ("centre", "distance from the centre"),
        ("boxes of other patients", "mean of the other patients' boxes"),
        ("brightness inside the lungs", "brightness inside the lungs"),
    ):
        figures = maps[way]
        above = with_interval(figures["auprc_above"]) if "auprc_above" in figures else ""
        cells = [with_interval(figures[kind]) for kind in ("hits", "overlap", "auprc")]
        rows.append(f"| {name} | {' | '.join(cells)} | {above} |")
    return "\n".join(rows)
