"""Events: what happened, and who did it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from whyray.admin.backend import BackendDep, PagingDep
from whyray.admin.describe import event_out
from whyray.admin.listing import paged, part_of
from whyray.admin.lists import event_list
from whyray.admin.schemas import EventOut, Page

router = APIRouter(tags=["events"])


@router.get("/events", summary="List events")
def list_events(
    backend: BackendDep,
    paging: PagingDep,
    kind: Annotated[str | None, Query(description="This kind, or all below it: 'admin' means 'admin.*'.")] = None,
    severity: Annotated[list[Literal["info", "warning", "error"]], Query(description="Only these.")] = [],  # noqa: B006
    actor: Annotated[str | None, Query(description="Only what this one did.")] = None,
    study: Annotated[str | None, Query(description="Only about this Study Instance UID.")] = None,
    job: Annotated[str | None, Query(description="Only about this job.")] = None,
) -> Page[EventOut]:
    """Events, newest first; an administrator's own actions are among them."""
    with backend.catalog.read() as session:
        listing = event_list(session, kind=kind, severity=severity, actor=actor, study_uid=study, job_id=job)
        part = part_of(session, listing, paging)
        return paged(part, [event_out(row) for row in part.rows], paging.limit)
