"""The same run without network, queue or catalog: files in; DICOM results, pictures and a report out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset

import whyray
from whyray.errors import DecodeError, ImageError
from whyray.failures import activity
from whyray.imaging import (
    SEGMENTATIONS,
    WRAPPED,
    Refusal,
    counted,
    is_picture,
    other_object,
    passed_over,
    read_images,
    sop_class_of,
    wrap_picture,
)
from whyray.models import Model
from whyray.pipeline.run import answer_images
from whyray.pipeline.wish import Progress, Wish
from whyray.results import ALL_KINDS, Result, ResultKind, Templates, build_results, describe, encode, write_picture
from whyray.shown import shown_path

NO_ROUTE = "command line"
_PREAMBLE = 128
_NO_NAME = re.compile(r"[^\w.+@-]+")
_LONGEST_STEM = 180
"""Bytes: with the rest of a UID and an ending below the 255 that file systems take."""


@dataclass(frozen=True)
class Report:
    """What `report.json` holds. `findings` as `whyray.results.describe` gives them, over all images.

    `notes`: what a reader has to know of the images; `refused`: what was given or asked for and is not there, and why;
    `withheld`: explanations that were made, and that their evaluation does not let anybody see.
    """

    package: str
    digest: str
    at: datetime
    images: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    findings: tuple[dict[str, Any], ...]
    refused: tuple[str, ...]
    withheld: tuple[str, ...]
    files: tuple[str, ...]


def instance_files(paths: Iterable[Path], *, pictures: bool = False) -> list[Path]:
    """The DICOM files among `paths` and in the folders among them; a file that is named is taken as it is.

    With `pictures`, a folder without a DICOM file gives its PNG and JPEG pictures.

    Raises
    ------
    ImageError
        If there is none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            files = [each for each in sorted(path.rglob("*")) if each.is_file()]
            dicom = [each for each in files if _is_part10(each)]
            found += dicom or [each for each in files if pictures and is_picture(each)]
        else:
            found.append(path)
    if not found:
        wanted = "DICOM file, PNG or JPEG picture" if pictures else "DICOM file"
        raise ImageError(f"no {wanted} among the paths given", advice="Name .dcm files or a folder that holds some.")
    return found


def _is_part10(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
    except OSError:
        return True  # one that can't be read is named where it is read, beside those that can


@dataclass(frozen=True)
class SortedFiles:
    """Files by what they are: images (and what can't be told), segmentations, and the kinds of what is neither."""

    images: tuple[Path, ...]
    segmentations: tuple[Path, ...]
    others: tuple[str, ...]


def sorted_files(files: Sequence[Path]) -> SortedFiles:
    """Tell images from what lies beside them: a DICOMDIR, reports, documents, presentation states.

    Raises
    ------
    ImageError
        If there is no image among them, naming what there is.
    """
    images: list[Path] = []
    segmentations: list[Path] = []
    others: list[str] = []
    for path in files:
        sop_class, has_size = sop_class_of(path)
        if sop_class in SEGMENTATIONS:
            segmentations.append(path)
        elif (name := other_object(sop_class, has_size=has_size)) is not None:
            others.append(name)
        else:
            images.append(path)
    if not images:
        found = counted([*others, *["Segmentation"] * len(segmentations)])
        raise ImageError(
            f"expected an image, found none in {len(files)} files: {found}",
            advice="Name the files of the images, or a folder that holds them.",
        )
    return SortedFiles(tuple(images), tuple(segmentations), tuple(others))


def explain_files(
    files: Sequence[Path],
    model: Model,
    wish: Wish,
    out: Path,
    *,
    templates: Templates,
    at: datetime,
    progress: Progress,
    language: str = "en",
    kinds: Sequence[ResultKind] = ALL_KINDS,
) -> Report:
    """Run `model` on `files`, DICOM or pictures, and write everything under `out`.

    Raises
    ------
    ImageError, ModelOutputError
        As `answer_images`.
    """
    progress(0.0, "reading the images")
    given = sorted_files(files)
    sources, told, unreadable = _sources(given.images)
    if (beside := passed_over(given.others)) is not None:
        told += (beside,)
    if unreadable and not sources:
        raise unreadable[0].error
    found = read_images(sources)
    refusals = (*unreadable, *found.refusals)
    if not found.images and refusals:
        raise refusals[0].error
    answers = answer_images(
        found.or_raise(),
        model,
        wish,
        route=NO_ROUTE,
        at=at,
        segmentations=given.segmentations,
        progress=lambda done, words: progress(0.9 * done, words),
    )
    progress(0.92, "writing the results")
    written: list[str] = []
    for answer in answers:
        for result in build_results(answer, kinds, templates, language=language):
            with activity(f"writing {result.description}"):
                written += _write(result, out)
    findings = tuple(finding for answer in answers for finding in describe(answer))
    report = Report(
        package=model.identity,
        digest=model.digest,
        at=at,
        images=tuple(
            {
                "series_instance_uid": str(answer.image.header.SeriesInstanceUID),
                "sop_instance_uids": sorted({each.sop_instance_uid for each in answer.image.frames}),
                "kind": answer.image.kind,
                "shape": list(answer.image.shape),
                "notes": [str(note) for note in answer.image.notes],
            }
            for answer in answers
        ),
        notes=told + tuple(dict.fromkeys(str(note) for answer in answers for note in answer.image.notes)),
        findings=findings,
        refused=tuple(_refusals(findings)) + tuple(_refusal(each) for each in refusals),
        withheld=tuple(_withheld(findings)),
        files=tuple(written),
    )
    _write_report(report, out)
    return report


def _sources(files: Iterable[Path]) -> tuple[list[Path | Dataset], tuple[str, ...], tuple[Refusal, ...]]:
    """Instances, pictures wrapped as such; what is to be told of these; and those pictures that can't be taken."""
    sources: list[Path | Dataset] = []
    notes: list[str] = []
    refused: list[Refusal] = []
    for path in files:
        try:
            if is_picture(path):
                sources.append(wrap_picture(path))
                notes.append(f"{shown_path(path.name)}: {WRAPPED}")
            else:
                sources.append(path)
        except ImageError as error:
            refused.append(Refusal((), error, path))
        except OSError as error:
            words = f"expected a readable file, found {error.strerror or type(error).__name__}"
            refused.append(Refusal((), DecodeError(words, advice="Check the file's rights."), path))
    return sources, tuple(notes), tuple(refused)


def _refusal(refusal: Refusal) -> str:
    where = "" if refusal.source is None else f"{shown_path(refusal.source.name)}: "
    return f"{where}{refusal.error.code}: {refusal.error.message}"


def _refusals(findings: Iterable[dict[str, Any]]) -> Iterable[str]:
    for finding in findings:
        for method, why in finding["refused"].items():
            yield f"{method} of {finding['finding']}: {why}"


def _withheld(findings: Iterable[dict[str, Any]]) -> Iterable[str]:
    for finding in findings:
        for each in (*finding["explanations"], *finding["typed_explanations"]):
            if each["withheld"] and not each.get("part"):
                yield f"{each['method']} of {finding['finding']}: {'; '.join(each['quality']['reasons'])}"


def _write(result: Result, out: Path) -> list[str]:
    uid = str(result.dataset.SOPInstanceUID)
    words = "-".join(part for part in (result.kind, result.finding, result.method) if part).lower()
    # a target's name is the package's own: it may hold what separates folders, or be longer than a file's name may be
    stem = _NO_NAME.sub("_", words).encode("utf-8", "replace")[:_LONGEST_STEM].decode("utf-8", "ignore")
    dicom = out / "dicom" / f"{stem}-{uid[-12:]}.dcm"
    dicom.parent.mkdir(parents=True, exist_ok=True)
    dicom.write_bytes(encode(result.dataset))
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
        "files": report.files,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", "utf-8")
