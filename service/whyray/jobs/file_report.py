"""What `report.json` of `whyray explain` holds: images, findings, what was refused or withheld, and files written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import whyray
from whyray.base.stages import StageTime
from whyray.imaging import Refusal
from whyray.inference import Model
from whyray.jobs.input_files import refusal_words
from whyray.jobs.results_folder import REPORT
from whyray.results import Answer, Wording, describe_no_statement
from whyray.results.page import frames_explained_words


@dataclass(frozen=True)
class Report:
    """What `report.json` holds. `findings` as `whyray.results.describe` gives them, over all images.

    `notes`: what a reader has to know of the images; `refused`: what was given or asked for and is not there, and why;
    `no_statement`: images unlike those that the package was made for, of which nothing is said, and why;
    `withheld`: explanations that were made, and that their evaluation does not let anybody see; `stages`: where the
    time went, what took longest first.
    """

    package: str
    digest: str
    at: datetime
    images: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    findings: tuple[dict[str, Any], ...]
    refused: tuple[str, ...]
    withheld: tuple[str, ...]
    no_statement: tuple[dict[str, Any], ...]
    files: tuple[str, ...]
    stages: tuple[StageTime, ...] = ()


def file_report(
    model: Model,
    at: datetime,
    answers: Sequence[Answer],
    findings: Sequence[dict[str, Any]],
    files: Sequence[str],
    wording: Wording,
    *,
    remarks: Sequence[str],
    refusals: Sequence[Refusal],
) -> Report:
    """Report a run: `findings` as `describe` gives them, `files` as paths below the report's folder, and of the input
    what was remarked and refused."""
    return Report(
        package=model.identity,
        digest=model.package.digest,
        at=at,
        images=tuple(_image(answer) for answer in answers),
        notes=(*remarks, *_notes(answers, wording)),
        findings=tuple(findings),
        refused=(*_refusals(findings), *map(refusal_words, refusals)),
        withheld=tuple(_withheld(findings, wording)),
        no_statement=tuple(sentence for answer in answers if (sentence := describe_no_statement(answer)) is not None),
        files=tuple(files),
    )


def _image(answer: Answer) -> dict[str, Any]:
    image = answer.image
    return {
        "series_instance_uid": str(image.header.SeriesInstanceUID),
        "sop_instance_uids": sorted({frame.sop_instance_uid for frame in image.frames}),
        "frame": None if image.multi_frame_instance is None else image.frames[0].frame_number,
        "kind": image.kind,
        "shape": list(image.shape),
        "notes": [str(note) for note in image.notes],
    }


def _notes(answers: Sequence[Answer], wording: Wording) -> tuple[str, ...]:
    """How the images were read, and which frames of them are not explained; each once."""
    notes = [str(note) for answer in answers for note in answer.image.notes]
    left_out = [answer.frames_explained for answer in answers if answer.frames_explained is not None]
    return tuple(dict.fromkeys(notes + [frames_explained_words(frames, wording) for frames in left_out]))


def _refusals(findings: Iterable[dict[str, Any]]) -> Iterable[str]:
    for finding in findings:
        for method, why in finding["refused"].items():
            yield f"{method} of {finding['finding']}: {why}"


def _withheld(findings: Iterable[dict[str, Any]], wording: Wording) -> Iterable[str]:
    for finding in findings:
        for explanation in (*finding["explanations"], *finding["typed_explanations"]):
            if explanation["withheld"] and not explanation.get("part"):
                yield wording.lines.explanation_of.format(
                    title=explanation["title"],
                    finding=wording.named(finding["finding"]),
                    sentence=explanation["quality"]["trust"]["sentence"],
                )


def write_report(report: Report, folder: Path) -> None:
    """Write it as `report.json` into the folder."""
    content = {
        "notice": "Not for diagnostic use.",
        "whyray": whyray.__version__,
        "package": report.package,
        "digest": report.digest,
        "at": report.at.isoformat(),
        "notes": report.notes,
        "images": report.images,
        "findings": report.findings,
        "refused": report.refused,
        "withheld": report.withheld,
        "no_statement": report.no_statement,
        "files": report.files,
        "stages": [stage.plain() for stage in report.stages],
    }
    (folder / REPORT).write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", "utf-8")
