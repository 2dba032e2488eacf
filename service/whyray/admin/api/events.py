"""Events: what happened, and who did it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from whyray.admin import queries as reading
from whyray.admin.backend import Paged, Using
from whyray.admin.describe import event_out
from whyray.admin.schemas import EventOut, Page

router = APIRouter(tags=["events"])


@router.get("/events", summary="List events")
def list_events(
    backend: Using,
    paging: Paged,
    kind: Annotated[str | None, Query(description="This kind, or all below it: 'admin' means 'admin.*'.")] = None,
    severity: Annotated[list[Literal["info", "warning", "error"]], Query(description="Only these.")] = [],  # noqa: B006
    actor: Annotated[str | None, Query(description="Only what this one did.")] = None,
    study: Annotated[str | None, Query(description="Only about this Study Instance UID.")] = None,
    job: Annotated[str | None, Query(description="Only about this job.")] = None,
) -> Page[EventOut]:
    """Events, newest first; an administrator's own actions are among them."""
    query = reading.events(kind=kind, severity=severity, actor=actor, study_uid=study, job_id=job)
    with backend.catalog.read() as session:
        total, rows = reading.page(session, query, paging.limit, paging.offset)
        return Page(total=total, limit=paging.limit, offset=paging.offset, items=[event_out(row) for row in rows])
