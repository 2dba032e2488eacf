"""The first figures of a card: what a package is worth on patients that are new to it."""

from __future__ import annotations

from typing import Any

from whyray_training.figures import with_interval

TITLE = "## On other patients"
NOT_CONFIRMED = "not confirmed on other patients"
BETTER = 0.05
"""AUC by which a figure may be better on the radiographs that a recipe was made with, and still be said."""
_SOURCE = (
    "NIH ChestX-ray14 (Wang et al., CVPR 2017; NIH Clinical Center), boxes and classes in part by the readers of the "
    "RSNA Pneumonia Detection Challenge 2018 (Shih et al., Radiology: Artificial Intelligence 2019)"
)
_NOT_YET = f"{TITLE}\nNot measured yet: `python -m whyray_training.other_patients --data DIR`."


def prototypes_section(metrics: dict[str, Any]) -> str:
    """AUC of each target, and which can't be told."""
    others = metrics.get("other_patients")
    if others is None:
        return _NOT_YET
    rows = [
        f"| {name} | {told['positives']} | **{with_interval(told['auc'])}** | {told['auc_of_all']:.3f} "
        f"| {told['sensitivity']:.2f} "
        f"| {told['normals_called']:.2f} | {told['ece']:.3f} | {'yes' if told['told'] else '**no**'} |"
        for name, told in others["targets"].items()
    ]
    silent = not_told(metrics)
    words = (
        f"**{', '.join(silent)}: not told from chance here. What is answered about "
        f"{'it' if len(silent) == 1 else 'them'} means nothing**, and model.yaml says so. "
        if silent
        else ""
    )
    return "\n".join(
        (
            f"{_head(others)} {words}What is said further down was measured on the radiographs that the recipe was "
            "made with; where the two differ, this holds.",
            "",
            "| target | positives | AUC among radiographs with findings | AUC, those without findings, too "
            "| sensitivity at the threshold | radiographs without finding called | ECE | told from chance |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "The first AUC is against radiographs with other findings, since almost any answer tells the sick from "
            "the healthy ('Abnormal': against those without). *Told from chance*: this AUC is 0.6 or more, and its "
            "interval above 0.5. The mix of findings is another than that of a clinic.",
        )
    )


def abnormal_section(metrics: dict[str, Any]) -> str:
    """AUC of the answer and of each concept."""
    others = metrics.get("other_patients")
    if others is None:
        return _NOT_YET
    concepts = [
        f"| {name} | {told['positives']} | {with_interval(told['auc'])} |" for name, told in others["concepts"].items()
    ]
    table = ["| concept | positives | AUC among radiographs with findings |", "| --- | --- | --- |", *concepts]
    return "\n".join(
        (
            prototypes_section(metrics),
            "",
            "Its concepts, but those that fewer than 10 of the sick have, or lack (Pneumonia: nearly all have it):",
            "",
            *table,
        )
    )


def anatomy_section(metrics: dict[str, Any]) -> str:
    """Plausibility, boxes inside the lungs, agreement with cxr-scope."""
    others = metrics.get("other_patients")
    if others is None:
        return _NOT_YET
    return (
        f"{_head(others)} Nobody drew outlines on them; what can be said:\n\n"
        "| | share |\n| --- | --- |\n"
        f"| answers that are plausible by area, outline and symmetry | **{with_interval(others['plausible'])}** |\n"
        f"| images that cxr-scope calls ordinary | {with_interval(others['ordinary'])} |\n"
        f"| plausible, of those that cxr-scope calls ordinary | {with_interval(others['plausible_of_ordinary'])} |\n"
        f"| both say the same: plausible and ordinary, or neither | {with_interval(others['agree'])} |\n"
        f"| part of an opacity's box ({others['boxes']} boxes) that lies inside the lungs "
        f"| **{with_interval(others['box_inside_lungs'])}** |\n"
        f"| boxes that lie at least half inside the lungs | {with_interval(others['boxes_half_inside'])} |\n"
        f"| boxes that lie outside them (less than a tenth inside) | {others['boxes_outside']:.3f} |\n\n"
        "Boxes have corners that lungs have not, and an opaque lung is outlined too small: what lies where no lung was "
        "found need not lie outside the lung."
    )


def autoencoder_section(metrics: dict[str, Any]) -> str:
    """Which findings survive the way through the latents."""
    others = metrics.get("other_patients")
    if others is None:
        return _NOT_YET
    rows = [
        f"| {name} | {told['present']} | **{with_interval(told['survive'])}** | {with_interval(told['within'])} "
        f"| {told['appear']:.3f} |"
        for name, told in others["observers"].items()
    ]
    by_finding = [
        f"{finding} {told['survive']} of {told['present']}"
        for finding, told in next(iter(others["observers"].values()))["findings"].items()
    ]
    return "\n".join(
        (
            f"{_head(others)} **Findings do not survive this autoencoder by themselves**: of those that a package "
            "calls present in a radiograph, so many are still called present in what comes back (cxr-findings@2 "
            "learned from these radiographs, at 448 x 448; what comes back has 128 x 128 pixels):",
            "",
            "| answers by | present | survive | change by 0.1 or less | appear where there were none |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"By finding, first row: {', '.join(by_finding)}. What is decoded is therefore refined for the image at "
            "hand, the gap that is left is measured each time, and above 0.1 the counterfactual is withheld.",
        )
    )


def captioner_section(metrics: dict[str, Any]) -> str:
    """Agreement with the answers that are told, and with the labels."""
    others = metrics.get("other_patients")
    if others is None:
        return _NOT_YET
    rows = []
    for truth, key in (("answers of cxr-findings@1", "answers"), ("labels of the NIH", "labels")):
        told = others[key]
        cells = [told["agreement"], *(told[word][part] for word in ("present", "absent") for part in _PARTS)]
        rows.append(f"| {truth} | {' | '.join(map(with_interval, cells))} | {told['denying everything']:.3f} |")
    return "\n".join(
        (
            f"{_head(others)} The wording holds; that what is worded is right does not: of statements that a finding "
            f"is there, {others['labels']['present']['precision']['value']:.0%} agree with the labels.",
            "",
            "| against | agreement | present, precision | present, recall | absent, precision | absent, recall "
            "| denying everything |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
        )
    )


_PARTS = ("precision", "recall")


def not_told(metrics: dict[str, Any]) -> list[str]:
    """Targets that were not told from chance on other patients; none where that was not measured."""
    others = metrics.get("other_patients", {"targets": {}})
    return [name for name, told in others["targets"].items() if not told["told"]]


def not_told_words(metrics: dict[str, Any]) -> str:
    """The end of an intended use: what must not be believed; empty where all is told."""
    silent = not_told(metrics)
    return f" Not told from chance on other patients: {', '.join(silent)}." if silent else ""


def confirmed(figure: dict[str, float], others: dict[str, Any] | None) -> str:
    """An AUC as cards write it, unless it is better than on other patients, in `others`: by chance, or by BETTER."""
    if others is not None and figure["value"] > min(others["auc"]["high"], others["auc"]["value"] + BETTER):
        return NOT_CONFIRMED
    return with_interval(figure)


def _head(others: dict[str, Any]) -> str:
    return (
        f"{TITLE}\n{others['images']} radiographs of {others['patients']} patients that no training of this package "
        f"saw ({_SOURCE}); in brackets 95 % bootstrap intervals over patients."
    )
