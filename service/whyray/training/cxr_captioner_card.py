"""What the chest captioner says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whyray.training.cxr_captions import MENTIONS, SPOKEN, Phrasebook
from whyray.training.film_input import film_input

VERSION = "1.0.0"


def captioner_manifest(book: Phrasebook) -> dict[str, Any]:
    """The content of model.yaml."""
    return {
        "name": "cxr-captioner",
        "version": VERSION,
        "title": "Template sentences about a frontal chest radiograph (demonstration)",
        "manufacturer": "WhyRay",
        "task": "captioner",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Demonstration of captioner packages beside cxr-findings. Not for diagnostic use.",
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
    held_out = metrics["held out"]
    rows = "\n".join(
        f"| {name} | {' | '.join(f'{value:.3f}' for value in held_out[name].values())} |"
        for name in ("NIH labels", "cxr-findings")
    )
    return template.format(
        version=VERSION,
        rows=rows,
        spoken=", ".join(SPOKEN),
        differ=held_out["captions that differ"],
        mentioned=held_out["findings mentioned in a caption"],
        agrees=metrics.get("onnx agrees", "not compared yet"),
        examples="\n".join(f"> {each}" for each in metrics["examples"]),
        **{name: metrics[name] for name in ("radiographs", "folds", "seed", "vocabulary", "recipe")},
    )
