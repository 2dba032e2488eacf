"""What cases are made of, out of the catalog's results or of folders that `whyray explain` wrote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydicom import Dataset, dcmread
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from whyray.base.errors import ImageError, InputChanged, NotFound
from whyray.base.finding_record import FindingRecord, finding_records
from whyray.base.number_text import significant, with_marks
from whyray.catalog import Job, JobState, ResultRow, job_inputs
from whyray.imaging import SourceImage, is_picture, read_images, wrap_picture
from whyray.reader_study.cases import Gathered, Material, MaterialFilter
from whyray.reader_study.pictures import blinded_page, plain_picture
from whyray.storage import Storage


@dataclass(frozen=True)
class _Page:
    method: str
    grade: str | None
    png: bytes
    header: Dataset


def from_catalog(session: Session, storage: Storage, wanted: MaterialFilter) -> Gathered:
    """Cases out of the finished jobs whose instances and results are still there."""
    query = (
        select(Job)
        .options(joinedload(Job.study), joinedload(Job.results))
        .where(Job.state == JobState.DONE)
        .order_by(Job.created_at, Job.id)
    )
    made: list[Material] = []
    left_out: list[str] = []
    for job in session.scalars(query).unique():
        if not wanted.takes(job.package):
            continue
        uid = job.study.study_instance_uid
        pages = [_stored_page(storage, row) for row in job.results if _is_page(row, wanted)]
        try:
            with ExitStack() as files:
                paths = [
                    files.enter_context(storage.local_file(instance.key))
                    for group in job_inputs.instances(session, job).values()
                    for instance in group
                ]
                images = read_images(paths).images
                made += _cases(job.finding_records, images, pages, wanted, left_out, keys=partial(_study_key, uid))
        except (ImageError, InputChanged, NotFound) as error:
            left_out.append(f"study {uid}: {error.message}")
    return Gathered(tuple(made), tuple(left_out))


def _study_key(study_uid: str, _: Iterable[str]) -> tuple[str, ...]:
    return (study_uid,)


def _is_page(row: ResultRow, wanted: MaterialFilter) -> bool:
    return (
        row.kind == "sc"
        and not row.superseded
        and row.finding == wanted.target
        and row.picture_key is not None
        and row.method is not None
        and row.grade != "red"
        and (not wanted.methods or row.method in wanted.methods)
    )


def _stored_page(storage: Storage, row: ResultRow) -> _Page:
    with storage.open(row.key) as file:
        header = dcmread(file, stop_before_pixels=True)
    with storage.open(str(row.picture_key)) as file:
        return _Page(str(row.method), row.grade, file.read(), header)


def from_folders(folders: Sequence[Path], images: Sequence[Path], wanted: MaterialFilter) -> Gathered:
    """Cases out of folders that `whyray explain` wrote, and of the files that it was given.

    Raises
    ------
    NotFound
        If a folder holds no report.
    DecodeError
        If a report is none that `whyray explain` wrote.
    """
    names: dict[str, str] = {}
    sources: list[Path | Dataset] = []
    for path in images:
        source = wrap_picture(path) if is_picture(path) else dcmread(path, stop_before_pixels=True)
        names[str(source.SOPInstanceUID)] = path.stem
        sources.append(source if is_picture(path) else path)
    read = read_images(sources).images
    made: list[Material] = []
    left_out: list[str] = []
    for folder in folders:
        file = folder / "report.json"
        if not file.is_file():
            raise NotFound(f"{folder} holds no report.json", advice="Name a folder that `whyray explain --out` wrote.")
        written = json.loads(file.read_text("utf-8"))
        findings = finding_records(written.get("findings", ()), of=str(file))
        pages = list(_written_pages(folder, findings, wanted))
        made += _cases(findings, read, pages, wanted, left_out, keys=lambda uids: _names(uids, names))
    return Gathered(tuple(made), tuple(left_out))


def _names(uids: Iterable[str], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(names[uid] for uid in uids if uid in names)


def _written_pages(folder: Path, findings: Sequence[FindingRecord], wanted: MaterialFilter) -> Iterable[_Page]:
    """Each page with the grade of its own image's explanation: several images have findings of the same name."""
    for finding in findings:
        if finding.finding != wanted.target:
            continue
        seen = set()
        for explanation in finding.all_explanations:
            method = explanation.method
            if method in seen or explanation.withheld or (wanted.methods and method not in wanted.methods):
                continue
            seen.add(method)
            stem = f"sc-{wanted.target}-{method}".lower().replace(" ", "_")
            for file in sorted((folder / "dicom").glob(f"{stem}-*.dcm")):
                picture = folder / "pictures" / f"{file.stem}.png"
                # the name of one method may begin with that of another
                if file.stem.rpartition("-")[0] == stem and picture.is_file():
                    header = dcmread(file, stop_before_pixels=True)
                    if _sources(header) & set(finding.images):
                        yield _Page(method, explanation.quality.grade, picture.read_bytes(), header)


def _cases(
    findings: Sequence[FindingRecord],
    images: Sequence[SourceImage],
    pages: Sequence[_Page],
    wanted: MaterialFilter,
    left_out: list[str],
    *,
    keys: Callable[[Sequence[str]], tuple[str, ...]],
) -> Iterable[Material]:
    for finding in findings:
        package = finding.package.identity
        if finding.finding != wanted.target or not wanted.takes(package):
            continue
        uids = set(finding.images)
        image = next((source_image for source_image in images if uids & set(source_image.headers)), None)
        # of a cine a picture shows the first frame only, which says something else than the whole
        mine = [
            page for page in pages if uids & _sources(page.header) and int(page.header.get("NumberOfFrames", 1)) == 1
        ]
        named = (*keys(sorted(uids)), finding.study)
        where = named[0]
        if image is None:
            left_out.append(f"{where}: its images are not there")
        elif finding.present is None:
            left_out.append(f"{where}: no threshold says of {wanted.target} what counts as present")
        elif not mine:
            left_out.append(f"{where}: {wanted.target} has no page that may be shown")
        else:
            try:
                plain = plain_picture(image, _frames(image, mine))
            except ImageError as error:
                left_out.append(error.message)
                continue
            yield Material(
                keys=(*named, *sorted(uids)),
                image=plain,
                pages=tuple(blinded_page(page.png) for page in mine),
                said=_said(finding),
                model_says=finding.present,
                probability=finding.probability,
                package=package,
                methods=tuple(page.method for page in mine),
                grades=tuple(page.grade for page in mine),
            )


def _sources(header: Dataset) -> set[str]:
    return {str(reference.ReferencedSOPInstanceUID) for reference in header.get("SourceImageSequence", [])}


def _frames(image: SourceImage, pages: Sequence[_Page]) -> list[int]:
    """The frames that the pages show: without explanation the same ones are seen."""
    shown: set[tuple[str, int | None]] = set()
    for page in pages:
        for reference in page.header.get("SourceImageSequence", []):
            numbers = reference.get("ReferencedFrameNumber")
            uid = str(reference.ReferencedSOPInstanceUID)
            listed = [None] if numbers is None else list(numbers) if hasattr(numbers, "__iter__") else [numbers]
            shown |= {(uid, None if number is None else int(number)) for number in listed}
    return [
        index
        for index, frame in enumerate(image.frames)
        if (frame.sop_instance_uid, None) in shown or (frame.sop_instance_uid, frame.frame_number) in shown
    ]


def _said(finding: FindingRecord) -> str:
    verdict = "present" if finding.present else "not present"
    if finding.probability is not None:
        return f"{finding.finding}: {verdict} (probability {finding.probability:.2f})"
    if finding.value is not None:
        value, unit = with_marks(significant(finding.value, 4), ".", ","), (finding.unit or "").replace("mm2", "mm²")
        return f"{finding.finding}: {value} {unit}".rstrip()
    return f"{finding.finding}: {verdict}"
