"""What the chest captioner says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whyray_training.cxr_captions import MENTIONS, Phrasebook
from whyray_training.figures import with_interval
from whyray_training.film_input import film_input
from whyray_training.other_patients_card import captioner_section

VERSION = "1.0.0"


def captioner_manifest(book: Phrasebook) -> dict[str, Any]:
    """The content of model.yaml."""
    return {
        "name": "cxr-captioner",
        "version": VERSION,
        "title": "What cxr-findings answers of a frontal chest radiograph, in sentences (demonstration)",
        "manufacturer": "WhyRay",
        "task": "captioner",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": (
            "Demonstration of captioner packages beside cxr-findings, whose answers it puts into words: no second "
            "opinion. Not for diagnostic use."
        ),
        "input": film_input(),
        "output": {"name": "embedding", "activation": "none"},
        "artefacts": {"decoder": "decoder.onnx", "vocabulary": "vocabulary.txt"},
        "caption": {
            "at_most": book.at_most,
            "mentions": {name: [MENTIONS[name]] for name in book.findings},
            "denials": ["no", "without"],
        },
    }


def captioner_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    template = Path(__file__).with_name("cxr_captioner_card.md").read_text(encoding="utf-8")
    image, package = metrics["the image"], metrics["package"]
    return template.format(
        version=VERSION,
        others=captioner_section(metrics),
        rows="\n".join(
            (
                _row("held out", "answers", metrics["held out"]),
                _row("other patients", "answers", metrics["others"]),
                _row("held out", "labels of the NIH", metrics["labels"]),
            )
        ),
        patients=metrics["others"]["patients"],
        findings=len(metrics["findings"]),
        findings_rows="\n".join(
            f"| {name} | {figures['answered']} | {figures['stated']} "
            f"| {_share(figures['precision'])} | {_share(figures['recall'])} | {_share(figures['agreement'])} |"
            for name, figures in metrics["findings"].items()
        ),
        different=image["different captions"],
        unlike=_share(image["unlike that of the image before"]),
        unlike_empty=_share(image["unlike all of empty images"]),
        same=package["same"],
        compared=package["compared"],
        examples="\n>\n".join(f"> {example}" for example in metrics["examples"]),
        **{name: metrics[name] for name in ("radiographs", "folds", "seed", "vocabulary", "recipe")},
    )


def _row(captions: str, truth: str, measured: dict[str, Any]) -> str:
    figures = [
        measured["agreement"],
        *(measured[word][figure] for word in ("present", "absent") for figure in ("precision", "recall")),
    ]
    return (
        f"| {captions} | {truth} | {measured['images']} | {' | '.join(map(with_interval, figures))} "
        f"| {measured['denying everything']:.3f} |"
    )


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.3f}"
