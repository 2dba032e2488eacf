"""What cxr-findings@2 says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whyray_training.cxr_card import ANATOMY, CODES
from whyray_training.cxr_local_net import FLOOR, INPUT_SIZE
from whyray_training.cxr_opacity_card import rows_of_maps
from whyray_training.cxr_regions import REGIONS
from whyray_training.figures import with_interval
from whyray_training.film_input import SCOPE_COMPANION, film_input, film_scope

VERSION = "2.0.0"
_LUNG = ("39607008", "SCT", "Lung")


def findings_manifest(metrics: dict[str, Any]) -> dict[str, Any]:
    """The content of model.yaml."""
    silent = ", ".join(metrics["not_answered"])
    return {
        "name": "cxr-findings",
        "version": VERSION,
        "title": "Findings on a frontal chest radiograph (ChestX-ray14, demonstration)",
        "manufacturer": "WhyRay",
        "task": "multi-label",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Demonstration of explanations on a frontal chest radiograph. Not for diagnostic use."
        + (f" Not told from chance, and so not answered: {silent}." if silent else ""),
        "input": film_input(INPUT_SIZE),
        "output": {"name": "logits", "activation": "sigmoid", "features": "features", "embedding": "embedding"},
        "targets": [
            {
                "name": finding,
                "code": _concept(CODES[finding]),
                "anatomy": _concept(ANATOMY.get(finding, _LUNG)),
                "threshold": metrics["findings"][finding]["threshold"],
                "calibration": metrics["findings"][finding]["calibration"],
                "prevalence": metrics["findings"][finding]["prevalence"],
            }
            for finding in metrics["answered"]
        ],
        "evidence": {"output": "evidence", "bias": [FLOOR] * len(metrics["answered"])},
        "companions": {"autoencoder": "cxr-autoencoder@1", "anatomy": "cxr-anatomy@1", **SCOPE_COMPANION},
        "scope": film_scope(),
    }


def findings_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    rows = []
    for finding, figures_of in metrics["findings"].items():
        cells = (
            f"{figures_of['prevalence']:.1%}",
            with_interval(metrics["auc"][finding]),
            f"{figures_of['threshold']:.3f}",
            f"{figures_of['sensitivity']:.2f}",
            f"{figures_of['normals_called']:.3f}",
            f"{figures_of['ece']:.3f}",
            REGIONS[finding],
        )
        rows.append(f"| {finding} | {figures_of['positives']} | {' | '.join(cells)} |")
    silent = [f"| {finding} | {with_interval(metrics['auc'][finding])} |" for finding in metrics["not_answered"]]
    template = Path(__file__).with_name("cxr_local_findings_card.md").read_text(encoding="utf-8")
    return template.format(
        version=VERSION,
        folds=metrics["folds"],
        seed=metrics["seed"],
        data=metrics["data"],
        recipe=metrics["recipe"],
        metrics=metrics,
        mean=with_interval(metrics["mean_auc"]),
        normals=with_interval(metrics["normals_called"]),
        rows="\n".join(rows),
        silent="\n".join(silent) or "| none | |",
        answered=len(metrics["answered"]),
        nih_rows=rows_of_maps(metrics["nih_maps"]),
        rsna_rows=rows_of_maps(metrics["rsna_maps"]),
        parity=metrics["onnx_parity"],
    )


def _concept(code: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("value", "scheme", "meaning"), code, strict=True))
