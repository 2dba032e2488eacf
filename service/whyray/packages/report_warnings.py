"""What an onboarding report warns of, in words: for the command line, the report's page and `whyray package show`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whyray.packages.package import Package
from whyray.packages.randomisation_report import randomised_maps_in

LEARNED = "learned weights"
"""The part of the report that says whether the weights hold anything learned: `share`, `grade` and `rule`."""
FAITHFULNESS = {"green": "faithful", "amber": "doubtful", "red": "not faithful"}
"""What the grades of a method's maps in a report are called: not green, which a page is by other questions too."""
ONE_QUESTION = (
    "faithful, doubtful, not faithful: whether maps follow the model, which is only one question. Pages also ask "
    "whether the image is one that the model was made for, and whether such maps met radiologists' marks: without "
    "boxes and a scope, explanations are to be used with caution at best."
)
DISCRIMINATION = "discrimination"
"""The part that says by target how well answers tell images with a finding from those without."""


def learned_weights_warning(entry: Mapping[str, Any] | None) -> str | None:
    """What a `LEARNED` part warns of; None where all layers that can be told have learned, or none can be."""
    if entry is None or entry["grade"] == "green":
        return None
    share = f"{entry['share']:.0%} of the weights that can be told are as random as if they had learned nothing"
    if entry["grade"] == "red":
        return (
            f"{share}: every explanation of this model is withheld. Look whether its checkpoint was loaded before it "
            "was exported, and whether its answers are those of the training code"
        )
    return (
        f"{share}: explanations are to be used with caution. Layers that are frozen, or that training hardly moved, "
        "look so too; else look whether all of the checkpoint was loaded before the export"
    )


def warnings_in(report: Mapping[str, Any], package: Package) -> tuple[str, ...]:
    """One sentence for each thing in a report that makes explanations or answers doubtful, the gravest first.

    Raises PackageError where the report is not as this version writes it.
    """
    learned = learned_weights_warning(report.get(LEARNED))
    unchanged = sorted(name for name, maps in randomised_maps_in(report, package).items() if maps.independent)
    warnings = [] if learned is None else [learned]
    warnings += [
        f"maps by {name} are nearly the same when the model's weights are shuffled: they show the image, not what the "
        "model learned, and are withheld"
        for name in unchanged
    ]
    warnings += [
        f"{target}: answers are the wrong way round, AUC {entry['AUC']:.2f} ({_interval(entry)}): look whether 1 and 0 "
        "of the labels, the order of targets in model.yaml, and black and white of the image (input.intensity) are as "
        "in training"
        for target, entry in report.get(DISCRIMINATION, {}).items()
        if "AUC" in entry and entry["interval"][1] < 0.5
    ]
    return tuple(warnings)


def discrimination_words(target: str, entry: Mapping[str, Any]) -> str:
    """How well one target is told, in a sentence."""
    counted = f"{entry['positive']} images with it, {entry['negative']} without, {entry['patients']} patients"
    if "AUC" not in entry:
        return f"{target}: no AUC, it needs images with the finding and without: {counted}"
    doubt = (
        "; no better than chance, as far as so many tell" if entry["interval"][0] <= 0.5 <= entry["interval"][1] else ""
    )
    return f"{target}: AUC {entry['AUC']:.2f} ({_interval(entry)}); {counted}{doubt}"


def _interval(entry: Mapping[str, Any]) -> str:
    low, high = entry["interval"]
    return f"95 % interval {low:.2f} to {high:.2f}"
