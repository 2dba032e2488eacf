"""Results: list, detail, picture, DICOM file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from whyray.admin import queries as reading
from whyray.admin.audited import Requester, given_result
from whyray.admin.backend import ActorDep, BackendDep, PagingDep
from whyray.admin.describe import result_detail, result_out
from whyray.admin.listing import paged, part_of
from whyray.admin.lists import result_list
from whyray.admin.schemas import Page, ResultDetail, ResultOut
from whyray.base.errors import NotFound
from whyray.base.finding_record import GradeName
from whyray.catalog import events
from whyray.config import ResultKind

router = APIRouter(tags=["results"])
_CHUNK = 1 << 20


@router.get("/results", summary="List results")
def list_results(
    backend: BackendDep,
    paging: PagingDep,
    study: Annotated[str | None, Query(description="Only of this Study Instance UID.")] = None,
    finding: Annotated[str | None, Query(description="Only of this finding.")] = None,
    kind: Annotated[ResultKind | None, Query(description="Only objects of this kind.")] = None,
    grade: Annotated[GradeName | None, Query(description="Only of this quality grade.")] = None,
    pictured: Annotated[bool | None, Query(description="Only with, or only without a picture.")] = None,
    superseded: Annotated[bool, Query(description="Those that newer revisions replaced, too.")] = False,
) -> Page[ResultOut]:
    """Results, newest first."""
    with backend.catalog.read() as session:
        listing = result_list(
            session,
            study_uid=study,
            finding=finding,
            kind=kind,
            grade=grade,
            pictured=pictured,
            superseded=superseded,
        )
        part = part_of(session, listing, paging)
        summaries = backend.findings.of_results(session, part.rows)
        return paged(part, [result_out(row, summaries[row.id]) for row in part.rows], paging.limit)


@router.get("/results/{sop_instance_uid}", summary="Show a result")
def show_result(backend: BackendDep, sop_instance_uid: str) -> ResultDetail:
    """A result with its finding and deliveries."""
    with backend.catalog.read() as session:
        return result_detail(reading.result(session, sop_instance_uid))


@router.get(
    "/results/{sop_instance_uid}/picture",
    summary="The picture of a result",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "The picture."}, 304: {"description": "Unchanged."}},
)
def show_picture(
    backend: BackendDep,
    request: Request,
    who: Requester,
    sop_instance_uid: str,
    width: Annotated[int | None, Query(ge=32, le=1024, description="Reduced to this width in pixels.")] = None,
) -> Response:
    """The overlay page as PNG, as it is burned into the Secondary Capture. Every view is audited."""
    with backend.catalog.begin() as session:
        row = reading.result(session, sop_instance_uid)
        if row.picture_key is None:
            raise NotFound(f"result {sop_instance_uid} ({row.kind}) has no picture")
        given_result(session, backend, who, row, "view", "picture" if width is None else "small picture")
    # a result never changes: its digest is its version
    headers = {"ETag": f'"{row.sha256[:32]}-{width or 0}"', "Cache-Control": "private, max-age=86400, immutable"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if width is None:
        with backend.store.open(row.picture_key) as file:
            return Response(file.read(), media_type="image/png", headers=headers)
    return Response(backend.previews.of(row, width), media_type="image/png", headers=headers)


@router.get(
    "/results/{sop_instance_uid}/dicom",
    summary="The DICOM file of a result",
    response_class=Response,
    responses={200: {"content": {"application/dicom": {}}, "description": "The file (PS3.10)."}},
)
def download(backend: BackendDep, actor: ActorDep, who: Requester, sop_instance_uid: str) -> Response:
    """The object as it is sent to the PACS. It carries the patient's identity, so every download is audited."""
    with backend.catalog.begin() as session:
        row = reading.result(session, sop_instance_uid)
        given_result(session, backend, who, row, "export", "DICOM file")
        file = backend.store.open(row.key)
        events.record(
            session,
            backend.catalog.clock(),
            "info",
            "admin.download",
            f"DICOM file of result {sop_instance_uid}",
            actor=actor,
            study=row.job.study.study_instance_uid,
            job=row.job_id,
        )
    return StreamingResponse(
        _chunks(file),
        media_type="application/dicom",
        headers={"Content-Disposition": f'attachment; filename="{row.kind}-{sop_instance_uid}.dcm"'},
    )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
