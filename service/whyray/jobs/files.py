"""Answers and explains files, and writes DICOM results, pictures and a report: what `whyray explain` does."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset

import whyray
from whyray.base.errors import ConfigError, DecodeError, ImageError
from whyray.base.failures import activity
from whyray.base.shown import shown_path
from whyray.base.stages import StageTime, measured_stages, stage
from whyray.config import DEFAULT_KINDS, Audience, ResultKind
from whyray.imaging import (
    SEGMENTATIONS,
    WRAPPED,
    Refusal,
    counted,
    is_nifti,
    is_picture,
    other_object,
    passed_over,
    read_images,
    sop_class_of,
    wrap_nifti,
    wrap_picture,
)
from whyray.inference import Model
from whyray.jobs.answering import answer_images
from whyray.jobs.explanation_request import ExplanationRequest, Progress, reading_progress
from whyray.jobs.own_results import RESULT, is_own_page, listed_as_results
from whyray.jobs.results_folder import REPORT, results_folder
from whyray.results import (
    Answer,
    Result,
    Templates,
    Wording,
    describe,
    describe_no_statement,
    encode,
    grouped_results,
    shown_ahead,
    write_picture,
)
from whyray.results.page import frames_explained_words

NO_ROUTE = "command line"
_PREAMBLE = 128
_FIRST_TAGS = tuple(
    bytes((group, 0, element, 0))
    for group, elements in ((2, (0, 1, 2)), (8, (0, 1, 5, 8, 18, 22)))
    for element in elements
)
"""With one of these a file without preamble begins (PS3.5 section 7.1: in ascending order), little endian."""
_DICOM_ENDINGS = (".dcm", ".dicom")
_MOST_NAMED = 3
_NO_NAME = re.compile(r"[^\w.+@-]+")
_LONGEST_STEM = 180
"""Bytes: with the rest of a UID and an ending below the 255 that file systems take."""


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


def instance_files(paths: Iterable[Path]) -> list[Path]:
    """The DICOM files among `paths` and in the folders among them; a file that is named is taken as it is.

    Raises
    ------
    ImageError
        If there is none.
    """
    files: list[Path] = []
    for path in paths:
        files += [file for file in _files_in(path) if _claims_to_be_dicom(file)] if path.is_dir() else [path]
    if not files:
        raise ImageError("no DICOM file among the paths given", advice="Name .dcm files or a folder that holds some.")
    return files


def _files_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("._")]


def _claims_to_be_dicom(path: Path) -> bool:
    """Whether a file says by its first bytes or its name that it is DICOM, so that it is used, or refused by name."""
    if path.suffix.lower() in _DICOM_ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_PREAMBLE + 4)
    except OSError:
        return True  # one that can't be read is named where it is read, beside those that can
    return head[_PREAMBLE:] == b"DICM" or head.startswith(_FIRST_TAGS)


@dataclass(frozen=True)
class SortedFiles:
    """Files by what they are: images (and what can't be told), segmentations, and the kinds of what is neither."""

    images: tuple[Path, ...]
    segmentations: tuple[Path, ...]
    others: tuple[str, ...]


def sorted_files(
    paths: Iterable[Path], *, volumes: bool = False, without: Collection[Path] = frozenset()
) -> SortedFiles:
    """Tell images from what lies beside them: a DICOMDIR, reports, documents, presentation states, other files.

    A file that is named is taken as it is; of a folder, what is DICOM, or, where nothing is, PNG and JPEG pictures,
    and, with `volumes`, NIfTI volumes; but no result of WhyRay, and none of `without`, which are resolved paths.

    Raises
    ------
    ImageError
        If there is no image among them, naming what there is.
    """
    images: list[Path] = []
    segmentations: list[Path] = []
    others: list[str] = []
    files: list[Path] = []
    searched: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = [file for file in _files_in(path) if not without or file.resolve() not in without]
        results = listed_as_results(inside)
        inside = [file for file in inside if file not in results]
        others += [RESULT] * len(results)
        taken = [file for file in inside if _claims_to_be_dicom(file)]
        taken = taken or [file for file in inside if is_picture(file) or (volumes and is_nifti(file))]
        files += taken
        searched |= set(taken)
        others += [_kind_of_file(file) for file in inside if file not in set(taken)]
    for path in files:
        sop_class, has_size = sop_class_of(path)
        if sop_class in SEGMENTATIONS:
            segmentations.append(path)
        elif (name := other_object(sop_class, has_size=has_size)) is not None:
            others.append(name)
        elif path in searched and is_own_page(path, sop_class):
            others.append(RESULT)
        else:
            images.append(path)
    if not images:
        kinds = [*others, *["Segmentation"] * len(segmentations)]
        words = f"no DICOM file, PNG or JPEG picture{' or NIfTI volume' * volumes} among the paths given"
        if kinds:
            number = f"{len(kinds)} file{'s' if len(kinds) > 1 else ''}"
            words = f"expected an image, found none in {number}: {counted(kinds)}"
        what = f"PNG or JPEG pictures,{' NIfTI volumes,' * volumes}"
        advice = f"Name DICOM files, {what} or a folder that holds some."
        if kinds == ["DICOMDIR"]:
            advice = "A DICOMDIR is a table of contents: name the folder in which it lies."
        raise ImageError(words, advice=advice)
    return SortedFiles(tuple(images), tuple(segmentations), tuple(others))


def _kind_of_file(path: Path) -> str:
    if is_picture(path):
        return "picture"
    return f"file that is not DICOM ({shown_path(path.suffix) or 'no ending'})"


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
            on_reading = reading_progress(progress)
            earlier = {path.resolve() for path in folder.earlier} | {(out / REPORT).resolve()}
            if named := [path for path in paths if path.resolve() in earlier]:
                raise ConfigError(
                    f"{shown_path(named[0])} is a result of the earlier run that would be overwritten",
                    advice="Name another folder with --out.",
                )
            given = sorted_files(paths, volumes=True, without=earlier)
            if modality is not None and not any(map(_is_volume, given.images)):
                raise ImageError(
                    f"the modality {modality} is named, and no NIfTI volume among the files: DICOM says its own, and "
                    "pictures are taken as radiographs",
                    advice="Leave --modality out.",
                )
            with stage("reading"):
                sources, remarks, unreadable = _sources(given.images, modality)
            if (beside := passed_over(given.others)) is not None:
                remarks += (beside,)
            if unreadable and not sources:
                raise _none_usable(unreadable)
            with stage("reading"):
                study = read_images(sources, on_reading)
            refusals = (*unreadable, *study.refusals)
            if not study.images and refusals:
                raise _none_usable(refusals)
            answers = answer_images(
                study.of_one_patient(given.segmentations).or_raise(),
                model,
                request,
                route=NO_ROUTE,
                at=at,
                segmentations=given.segmentations,
                progress=lambda done, words: progress(0.9 * done, words),
                beside=shown_ahead(templates.layout, kinds, audience),
            )
            progress(0.92, "writing the results")
            written: list[str] = []
            wording = templates.wording(language)
            findings: list[dict[str, Any]] = []
            for group, results in grouped_results(answers, kinds, templates, language=language, audience=audience):
                for result in results:
                    with activity(f"writing {result.description}"):
                        written += _write(result, folder.making)
                findings += [finding for answer in group for finding in describe(answer, results, wording)]
            report = Report(
                package=model.identity,
                digest=model.package.digest,
                at=at,
                images=tuple(
                    {
                        "series_instance_uid": str(answer.image.header.SeriesInstanceUID),
                        "sop_instance_uids": sorted({frame.sop_instance_uid for frame in answer.image.frames}),
                        "frame": None
                        if answer.image.multi_frame_instance is None
                        else answer.image.frames[0].frame_number,
                        "kind": answer.image.kind,
                        "shape": list(answer.image.shape),
                        "notes": [str(note) for note in answer.image.notes],
                    }
                    for answer in answers
                ),
                notes=remarks + _notes(answers, wording),
                findings=tuple(findings),
                refused=tuple(_refusals(findings)) + tuple(_refusal(refusal) for refusal in refusals),
                withheld=tuple(_withheld(findings, wording)),
                no_statement=tuple(
                    sentence for answer in answers if (sentence := describe_no_statement(answer)) is not None
                ),
                files=tuple(written),
            )
        report = replace(report, stages=stages.times())
        _write_report(report, folder.making)
        folder.finish()
        return report


def _notes(answers: Sequence[Answer], wording: Wording) -> tuple[str, ...]:
    """How the images were read, and which frames of them are not explained; each once."""
    notes = [str(note) for answer in answers for note in answer.image.notes]
    left_out = [answer.frames_explained for answer in answers if answer.frames_explained is not None]
    return tuple(dict.fromkeys(notes + [frames_explained_words(frames, wording) for frames in left_out]))


def _is_volume(path: Path) -> bool:
    return is_nifti(path) and not _claims_to_be_dicom(path)


def _sources(
    files: Iterable[Path], modality: str | None
) -> tuple[list[Path | Dataset], tuple[str, ...], tuple[Refusal, ...]]:
    """Instances, pictures and volumes wrapped as such; what is to be told of these; and those that can't be taken."""
    sources: list[Path | Dataset] = []
    notes: list[str] = []
    refused: list[Refusal] = []
    for path in files:
        try:
            if is_picture(path):
                sources.append(wrap_picture(path))
                notes.append(f"{shown_path(path.name)}: {WRAPPED}")
            elif _is_volume(path):
                wrapped = wrap_nifti(path, modality)
                sources += wrapped.instances
                notes.append(f"{shown_path(path.name)}: {wrapped.remarks}")
            else:
                sources.append(path)
        except ImageError as error:
            refused.append(Refusal((), error, path))
        except OSError as error:
            words = f"expected a readable file, found {error.strerror or type(error).__name__}"
            refused.append(Refusal((), DecodeError(words, advice="Check the file's rights."), path))
    return sources, tuple(notes), tuple(refused)


def _refusal(refusal: Refusal) -> str:
    return f"{_place(refusal)}{refusal.error.code}: {refusal.error.message}"


def _place(refusal: Refusal) -> str:
    """The file's name with a colon, unless the message begins with it."""
    name = "" if refusal.source is None else f"{shown_path(refusal.source.name)}: "
    return "" if refusal.error.message.startswith(name) else name


def _none_usable(refusals: Sequence[Refusal]) -> ImageError:
    """The first refusal's error, with the names of the files that can't be used."""
    first = refusals[0].error
    kind = type(first) if isinstance(first, ImageError) else ImageError
    words = [f"{_place(refusal)}{refusal.error.message}" for refusal in refusals[:_MOST_NAMED]]
    more = len(refusals) - len(words)
    return kind("; ".join(words) + (f"; and {more} more" if more else ""), advice=first.advice)


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


def _write_report(report: Report, out: Path) -> None:
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
    (out / REPORT).write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", "utf-8")
