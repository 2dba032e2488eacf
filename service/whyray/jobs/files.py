"""Answers and explains files, and writes DICOM results, pictures and a report: what `whyray explain` does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from whyray.base.errors import ConfigError
from whyray.base.failures import activity
from whyray.base.shown import shown_path
from whyray.base.stages import measured_stages, stage
from whyray.config import DEFAULT_KINDS, Audience, ResultKind
from whyray.inference import Model
from whyray.jobs.answering import answer_images
from whyray.jobs.explanation_request import ExplanationRequest, Progress, reading_progress
from whyray.jobs.file_report import Report, file_report, write_report
from whyray.jobs.input_files import read_input, sorted_files
from whyray.jobs.results_folder import ResultsFolder, results_folder
from whyray.results import (
    Result,
    Templates,
    describe,
    encode,
    grouped_results,
    shown_ahead,
    write_picture,
)

NO_ROUTE = "command line"
_NO_NAME = re.compile(r"[^\w.+@-]+")
_LONGEST_STEM = 180
"""Bytes: with the rest of a UID and an ending below the 255 that file systems take."""


def explain_files(
    paths: Sequence[Path],
    model: Model,
    request: ExplanationRequest,
    out: Path,
    *,
    templates: Templates,
    at: datetime,
    progress: Progress,
    language: str = "en",
    kinds: Sequence[ResultKind] = DEFAULT_KINDS,
    audience: Audience = "radiologist",
    modality: str | None = None,
    overwrite: bool = False,
) -> Report:
    """Run `model` on files, DICOM, pictures or NIfTI, and on those in folders; write everything under `out`.

    `modality` is that of the NIfTI volumes among them, which don't say it themselves; `overwrite` lets results of an
    earlier run in `out` be replaced, where there are any (`results_folder`).

    Raises
    ------
    ConfigError
        As `results_folder`; or where one of the files is among those that would be overwritten.
    ImageError, ModelOutputError
        As `answer_images`; ImageError where a modality is named and no file needs one.
    PatientMismatch
        If files of one study name two patients.
    """
    with results_folder(out, overwrite=overwrite) as folder:
        with measured_stages() as stages:
            files = sorted_files(paths, volumes=True, without=_earlier_results(paths, folder))
            with stage("reading"):
                given = read_input(files, modality, reading_progress(progress))
            answers = answer_images(
                given.study.of_one_patient(files.segmentations).or_raise(),
                model,
                request,
                route=NO_ROUTE,
                at=at,
                segmentations=files.segmentations,
                progress=lambda done, words: progress(0.9 * done, words),
                beside=shown_ahead(templates.layout, kinds, audience),
            )
            progress(0.92, "writing the results")
            findings: list[dict[str, Any]] = []
            written: list[str] = []
            wording = templates.wording(language)
            for group, results in grouped_results(answers, kinds, templates, language=language, audience=audience):
                for result in results:
                    with activity(f"writing {result.description}"):
                        written += _write(result, folder.making)
                findings += [finding for answer in group for finding in describe(answer, results, wording)]
        report = file_report(
            model, at, answers, findings, written, wording, remarks=given.remarks, refusals=given.refusals
        )
        report = replace(report, stages=stages.times())
        write_report(report, folder.making)
        folder.finish()
        return report


def _earlier_results(paths: Iterable[Path], folder: ResultsFolder) -> set[Path]:
    """What an earlier run left in the folder, as resolved paths; ConfigError if one is an input."""
    earlier = {path.resolve() for path in folder.earlier}
    if named := [path for path in paths if path.resolve() in earlier]:
        raise ConfigError(
            f"{shown_path(named[0])} is a result of the earlier run that would be overwritten",
            advice="Name another folder with --out.",
        )
    return earlier


def _write(result: Result, out: Path) -> list[str]:
    uid = str(result.dataset.SOPInstanceUID)
    words = "-".join(part for part in (result.kind, result.finding, result.method) if part).lower()
    # a target's name is the package's own: it may hold what separates folders, or be longer than a file's name may be
    stem = _NO_NAME.sub("_", words).encode("utf-8", "replace")[:_LONGEST_STEM].decode("utf-8", "ignore")
    dicom = out / "dicom" / f"{stem}-{uid[-12:]}.dcm"
    encoded = encode(result.dataset)
    with stage("storing"):
        dicom.parent.mkdir(parents=True, exist_ok=True)
        dicom.write_bytes(encoded)
    written = [str(dicom.relative_to(out))]
    if result.picture is not None:
        picture = out / "pictures" / f"{stem}-{uid[-12:]}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_picture(result, picture)
        written.append(str(picture.relative_to(out)))
    return written
