"""What the prototype package says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whyray.base.arrays import DoubleArray
from whyray_training import figures
from whyray_training.cxr_card import chest_manifest
from whyray_training.cxr_data import FINDINGS
from whyray_training.cxr_measure import SPECIFICITY
from whyray_training.cxr_prototypes_net import TARGETS
from whyray_training.figures import with_interval
from whyray_training.film_input import SCOPE_COMPANION, film_scope
from whyray_training.other_patients_card import confirmed, not_told_words, prototypes_section

VERSION = "1.0.0"
_CODES = {
    "Cardiomegaly": ("8186001", "Cardiomegaly"),
    "Effusion": ("60046008", "Pleural effusion"),
    "Abnormal": ("263654008", "Abnormal"),
}
_ANATOMY = {
    "Cardiomegaly": ("80891009", "Heart"),
    "Effusion": ("3120008", "Pleura"),
    "Abnormal": ("51185008", "Thorax"),
}


def target_figures(
    labels: DoubleArray, measured: DoubleArray, fold_of: npt.NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """One target's figures, of held-out logits (3, N): plain, disturbed, without prototypes.

    Calibration and threshold are measured across folds.
    """
    logits, disturbed, linear = measured
    crossed, present = np.zeros(len(labels)), np.zeros(len(labels), bool)
    for fold in np.unique(fold_of):
        rest, here = fold_of != fold, fold_of == fold
        a, b = figures.platt(logits[rest], labels[rest])
        crossed[here] = figures.sigmoid(a * logits[here] + b)
        fitting = figures.sigmoid(a * logits[rest] + b)
        present[here] = crossed[here] >= figures.threshold_at_specificity(labels[rest], fitting, SPECIFICITY)
    a, b = figures.platt(logits, labels)
    return {
        "positives": int(labels.sum()),
        "auc": figures.auc_interval(labels, logits, seed),
        "disturbed_auc": figures.rounded(figures.auc(labels, disturbed)),
        "linear_auc": figures.rounded(figures.auc(labels, linear)),
        "loss_to_linear": figures.bootstrap(
            lambda rows: figures.auc(labels[rows], linear[rows]) - figures.auc(labels[rows], logits[rows]),
            len(labels),
            seed,
        ),
        "calibration": [a, b],
        "ece": figures.expected_calibration_error(labels, crossed),
        "threshold": figures.threshold_at_specificity(labels, figures.sigmoid(a * logits + b), SPECIFICITY),
        "sensitivity": figures.rounded(present[labels == 1].mean(), 2),
        "specificity": figures.rounded((~present)[labels == 0].mean(), 2),
    }


def prototypes_manifest(metrics: dict[str, Any]) -> dict[str, Any]:
    """The content of model.yaml."""
    chest = chest_manifest({"findings": {name: {"threshold": 0.5, "calibration": [1.0, 0.0]} for name in FINDINGS}})
    return {
        "name": "cxr-prototypes",
        "version": VERSION,
        "title": "Cardiomegaly, effusion, anything abnormal, by prototypes (ChestX-ray14, demonstration)",
        "manufacturer": "WhyRay",
        "task": "multi-label",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Demonstration of explanations by prototypes. Not for diagnostic use."
        + not_told_words(metrics),
        "input": chest["input"],
        "output": {"name": "logits", "activation": "sigmoid", "features": "features", "embedding": "similarities"},
        "targets": [
            {
                "name": name,
                "code": _concept(_CODES[name]),
                "anatomy": _concept(_ANATOMY[name]),
                "threshold": metrics["targets"][name]["threshold"],
                "calibration": metrics["targets"][name]["calibration"],
            }
            for name in TARGETS
        ],
        "prototypes": {"maps": "maps", "similarities": "similarities"},
        "companions": {"autoencoder": "cxr-autoencoder@1", "anatomy": "cxr-anatomy@1", **SCOPE_COMPANION},
        "scope": film_scope(),
    }


def prototypes_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    others = metrics.get("other_patients", {"targets": {}})["targets"]
    rows = [
        f"| {name} | {measured['positives']} | {confirmed(measured['auc'], others.get(name))} "
        f"| {measured['linear_auc']:.3f} "
        f"| {with_interval(measured['loss_to_linear'])} | {measured['disturbed_auc']:.3f} "
        f"| {measured['threshold']:.3f} | {measured['sensitivity']:.2f} "
        f"| {measured['specificity']:.2f} | {measured['ece']:.3f} |"
        for name, measured in metrics["targets"].items()
    ]
    shipped = metrics["shipped_weights_at_64_pixels"]
    small = [
        f"| {name} | {measured['positives']} | {confirmed(measured['auc'], others.get(name))} |"
        for name, measured in shipped["targets"].items()
    ]
    template = Path(__file__).with_name("cxr_prototypes_card.md").read_text(encoding="utf-8")
    return template.format(
        version=VERSION,
        others=prototypes_section(metrics),
        folds=metrics["folds"],
        seed=metrics["seed"],
        rows="\n".join(rows),
        small="\n".join(small),
        recipe=metrics["recipe"],
        data=metrics["data"],
        shipped=shipped,
        parity=metrics["onnx_parity"],
    )


def _concept(code: tuple[str, str]) -> dict[str, str]:
    return {"value": code[0], "scheme": "SCT", "meaning": code[1]}
