"""The same run without network, queue or catalog: files in; DICOM results, pictures and a report out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset

import whyray
from whyray.errors import ImageError
from whyray.imaging import WRAPPED, Refusal, is_picture, is_segmentation, read_images, wrap_picture
from whyray.models import Model
from whyray.pipeline.run import answer_images
from whyray.pipeline.wish import Progress, Wish
from whyray.results import (
    ALL_KINDS,
    Answer,
    Result,
    ResultKind,
    Templates,
    Wording,
    build_run_results,
    describe,
    encode,
    frames_explained_words,
    write_picture,
)

NO_ROUTE = "command line"
_PREAMBLE = 128


@dataclass(frozen=True)
class Report:
    """What `report.json` holds. `findings` as `whyray.results.describe` gives them, over all images.

    `notes`: what a reader has to know of the images; `refused`: what was asked for and is not there, and why.
    """

    package: str
    digest: str
    at: datetime
    images: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    findings: tuple[dict[str, Any], ...]
    refused: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def has_refusals(self) -> bool:
        """Whether something that was asked for is missing or withheld."""
        return bool(self.refused)


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
    with path.open("rb") as file:
        return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"


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
    sources, wrapped = _sources(files)
    segmentations = [each for each in sources if isinstance(each, Path) and is_segmentation(each)]
    images = [each for each in sources if each not in segmentations]
    found = read_images(images or sources)
    answers = answer_images(
        found.or_raise(),
        model,
        wish,
        route=NO_ROUTE,
        at=at,
        segmentations=segmentations,
        progress=lambda done, words: progress(0.9 * done, words),
    )
    progress(0.92, "writing the results")
    written: list[str] = []
    for result in build_run_results(answers, kinds, templates, language=language):
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
                "frame": None if answer.image.multi_frame_instance is None else answer.image.frames[0].frame_number,
                "kind": answer.image.kind,
                "shape": list(answer.image.shape),
                "notes": [str(note) for note in answer.image.notes],
            }
            for answer in answers
        ),
        notes=wrapped + _notes(answers, templates.wording(language)),
        findings=findings,
        refused=tuple(_refusals(findings)) + tuple(_refusal(each) for each in found.refusals),
        files=tuple(written),
    )
    _write_report(report, out)
    return report


def _notes(answers: Sequence[Answer], wording: Wording) -> tuple[str, ...]:
    """How the images were read, and which frames of them are not explained; each once."""
    notes = [str(note) for answer in answers for note in answer.image.notes]
    left_out = [each.frames_explained for each in answers if each.frames_explained is not None]
    return tuple(dict.fromkeys(notes + [frames_explained_words(each, wording) for each in left_out]))


def _sources(files: Iterable[Path]) -> tuple[list[Path | Dataset], tuple[str, ...]]:
    sources: list[Path | Dataset] = []
    notes: list[str] = []
    for path in files:
        if is_picture(path):
            sources.append(wrap_picture(path))
            notes.append(f"{path.name}: {WRAPPED}")
        else:
            sources.append(path)
    return sources, tuple(notes)


def _refusal(refusal: Refusal) -> str:
    where = "" if refusal.source is None else f"{refusal.source.name}: "
    return f"{where}{refusal.error.code}: {refusal.error.message}"


def _refusals(findings: Iterable[dict[str, Any]]) -> Iterable[str]:
    for finding in findings:
        for method, why in finding["refused"].items():
            yield f"{method} of {finding['finding']}: {why}"
        for each in (*finding["explanations"], *finding["typed_explanations"]):
            if each["withheld"] and not each.get("part"):
                yield f"{each['method']} of {finding['finding']}: withheld: {'; '.join(each['quality']['reasons'])}"


def _write(result: Result, out: Path) -> list[str]:
    uid = str(result.dataset.SOPInstanceUID)
    stem = "-".join(part for part in (result.kind, result.finding, result.method) if part).lower().replace(" ", "_")
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
        "files": report.files,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", "utf-8")
