"""What the chest autoencoder says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whyray_training.cxr_autoencoder_net import SIZE
from whyray_training.figures import with_interval
from whyray_training.film_input import film_input
from whyray_training.other_patients_card import autoencoder_section

VERSION = "1.0.0"
_ROWS = {
    "mse_per_mille": "mean squared error, per mille of the squared range",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "gap": "mean gap of probabilities",
    "gap_logit": "mean gap of logits",
    "gap_within": "share of answers with a gap of 0.1 or less",
    "gap_within_where_present": "the same, of answers at or above the target's threshold",
    "same_side": "share of answers on the same side of the threshold",
    "correlation_of_logits": "correlation of logits, mean of targets",
}


def autoencoder_manifest() -> dict[str, Any]:
    """The content of model.yaml."""
    return {
        "name": "cxr-autoencoder",
        "version": VERSION,
        "title": "Autoencoder of frontal chest radiographs (companion of cxr-findings, demonstration)",
        "manufacturer": "WhyRay",
        "task": "autoencoder",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Synthetic pictures for explanations of cxr-findings. Not for diagnostic use.",
        "input": film_input(SIZE),
        "output": {"name": "reconstruction", "activation": "none", "embedding": "latents"},
    }


def autoencoder_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    sets = ("held_out", "held_out_small", "training")
    rows = [
        f"| {words} | {' | '.join(with_interval(metrics[part][key]) for part in sets)} |"
        for key, words in _ROWS.items()
    ]
    targets = [
        f"| {name} | {figures['present']} | {figures['gap']:.3f} | {figures['gap_95']:.3f} "
        f"| {figures['gap_logit']:.2f} | {figures['within']:.2f} |"
        for name, figures in metrics["held_out"]["targets"].items()
    ]
    template = Path(__file__).with_name("cxr_autoencoder_card.md").read_text(encoding="utf-8")
    return template.format(
        version=VERSION,
        others=autoencoder_section(metrics),
        seed=metrics["seed"],
        folds=metrics["folds"],
        recipe=metrics["recipe"],
        data=metrics["data"],
        classifier=metrics["classifier"],
        digest=metrics["classifier_digest"],
        continued=" It went on from the weights of an earlier run of the same script." if metrics["continued"] else "",
        pictures=[metrics[part]["pictures"] for part in sets],
        rows="\n".join(rows),
        targets="\n".join(targets),
        refined={
            name: with_interval(figure) if isinstance(figure, dict) else figure
            for name, figure in metrics["refined"].items()
        },
        parity=metrics["onnx_parity"],
    )
