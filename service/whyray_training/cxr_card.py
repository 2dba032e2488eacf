"""What the chest package says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whyray_training.cxr_data import FINDINGS
from whyray_training.figures import with_interval
from whyray_training.film_input import SCOPE_COMPANION, film_input, film_scope

VERSION = "1.0.0"
_SCT = "SCT"
_OWN = "99WHYRAY"
CODES = {
    "Atelectasis": ("46621007", _SCT, "Atelectasis"),
    "Cardiomegaly": ("8186001", _SCT, "Cardiomegaly"),
    "Effusion": ("60046008", _SCT, "Pleural effusion"),
    "Infiltration": ("cxr-infiltration", _OWN, "Infiltration (ChestX-ray14)"),
    "Mass": ("4147007", _SCT, "Mass"),
    "Nodule": ("27925004", _SCT, "Nodule"),
    "Pneumonia": ("233604007", _SCT, "Pneumonia"),
    "Pneumothorax": ("36118008", _SCT, "Pneumothorax"),
    "Consolidation": ("95436008", _SCT, "Lung consolidation"),
    "Edema": ("19242006", _SCT, "Pulmonary edema"),
    "Emphysema": ("87433001", _SCT, "Pulmonary emphysema"),
    "Fibrosis": ("51615001", _SCT, "Fibrosis of lung"),
    "Pleural_Thickening": ("cxr-pleural-thickening", _OWN, "Pleural thickening (ChestX-ray14)"),
    "Hernia": ("cxr-hernia", _OWN, "Hernia (ChestX-ray14)"),
}
_LUNG = ("39607008", _SCT, "Lung")
_PLEURA = ("3120008", _SCT, "Pleura")
ANATOMY = {
    "Cardiomegaly": ("80891009", _SCT, "Heart"),
    "Effusion": _PLEURA,
    "Pneumothorax": _PLEURA,
    "Pleural_Thickening": _PLEURA,
    "Hernia": ("5798000", _SCT, "Diaphragm"),
}


def chest_manifest(metrics: dict[str, Any]) -> dict[str, Any]:
    """The content of model.yaml."""
    return {
        "name": "cxr-findings",
        "version": VERSION,
        "title": "Findings on a frontal chest radiograph (ChestX-ray14, demonstration)",
        "manufacturer": "WhyRay",
        "task": "multi-label",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Demonstration of explanations on a frontal chest radiograph. Not for diagnostic use.",
        "input": film_input(),
        "output": {"name": "logits", "activation": "sigmoid", "features": "features", "embedding": "embedding"},
        "targets": [
            {
                "name": finding,
                "code": _concept(CODES[finding]),
                "anatomy": _concept(ANATOMY.get(finding, _LUNG)),
                "threshold": metrics["findings"][finding]["threshold"],
                "calibration": metrics["findings"][finding]["calibration"],
            }
            for finding in FINDINGS
        ],
        "companions": {
            "autoencoder": "cxr-autoencoder@1",
            "anatomy": "cxr-anatomy@1",
            "captioner": "cxr-captioner@1",
            **SCOPE_COMPANION,
        },
        "scope": film_scope(),
    }


def chest_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    rows = [
        f"| {finding} | {figures['positives']} | {with_interval(figures['auc'])} | {figures['probe_auc']:.3f} "
        f"| {with_interval(figures['teacher_auc'])} | {figures['agreement']:.2f} | {figures['threshold']:.3f} "
        f"| {figures['sensitivity']:.2f} | {figures['specificity']:.2f} | {figures['ece']:.3f} "
        f"| {figures['calibrated_on']} | {figures['evidence_in_region']:.2f} | {figures['region_area']:.2f} |"
        for finding, figures in metrics["findings"].items()
    ]
    small = [
        f"| {finding} | {figures['positives']} | {with_interval(figures['auc'])} |"
        for finding, figures in metrics["shipped_weights_at_64_pixels"]["findings"].items()
    ]
    recipe, data, shipped = metrics["recipe"], metrics["data"], metrics["shipped_weights_at_64_pixels"]
    template = Path(__file__).with_name("cxr_card.md").read_text(encoding="utf-8")
    return template.format(
        version=VERSION,
        folds=metrics["folds"],
        seed=metrics["seed"],
        mean=with_interval(metrics["mean_auc"]),
        probe=with_interval(metrics["probe_mean_auc"]),
        gain=with_interval(metrics["gain_over_probe"]),
        disturbed=with_interval(metrics["disturbed_mean_auc"]),
        disturbed_probe=with_interval(metrics["disturbed_probe_mean_auc"]),
        teacher=with_interval(metrics["teacher_mean_auc"]),
        rows="\n".join(rows),
        small="\n".join(small),
        recipe=recipe,
        data=data,
        shipped=shipped,
        parity=metrics["onnx_parity"],
    )


def _concept(code: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("value", "scheme", "meaning"), code, strict=True))
