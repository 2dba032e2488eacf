"""Jobs: list, detail, retry, cancel; and bulk actions."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from whyray.admin import bulk
from whyray.admin import queries as reading
from whyray.admin.backend import ActorDep, BackendDep, PagingDep
from whyray.admin.describe import job_detail, job_out
from whyray.admin.listing import paged, part_of
from whyray.admin.lists import job_list
from whyray.admin.schemas import JobDetail, JobMoved, JobOut, Page
from whyray.admin.service_schemas import BulkIn, BulkOut
from whyray.catalog import JobState, events, jobs

router = APIRouter(tags=["jobs"])


@router.get("/jobs", summary="List jobs")
def list_jobs(
    backend: BackendDep,
    paging: PagingDep,
    state: Annotated[list[JobState], Query(description="Only these states.")] = [],  # noqa: B006
    route: Annotated[str | None, Query(description="Only of this route.")] = None,
    package: Annotated[str | None, Query(description="Only of this package, NAME or NAME@VERSION.")] = None,
    destination: Annotated[str | None, Query(description="Only with results for this destination.")] = None,
    error: Annotated[str | None, Query(description="Only what failed, or waits, by this error (its code).")] = None,
    study: Annotated[str | None, Query(description="Only of this Study Instance UID.")] = None,
    sort: Annotated[Literal["-created", "created"], Query(description="Newest or oldest first.")] = "-created",
) -> Page[JobOut]:
    """Jobs by the time of their creation."""
    with backend.catalog.read() as session:
        listing = job_list(
            session,
            state=state,
            route=route,
            package=package,
            destination=destination,
            error=error,
            study_uid=study,
            oldest_first=sort == "created",
        )
        part = part_of(session, listing, paging)
        summaries = backend.findings.of_jobs(session, part.rows)
        return paged(part, [job_out(row, summaries[row.id]) for row in part.rows], paging.limit)


@router.get("/jobs/{job_id}", summary="Show a job")
def show_job(backend: BackendDep, job_id: str) -> JobDetail:
    """Its progress, error and advice, findings, explanations by type, results and deliveries, and events."""
    with backend.catalog.read() as session:
        return job_detail(reading.job(session, job_id), events.recent(session, job=job_id), backend.kinds())


@router.post("/jobs/{job_id}/retry", summary="Queue a job again")
def retry_job(
    backend: BackendDep,
    actor: ActorDep,
    job_id: str,
    anyway: Annotated[bool, Query(description="Also where the error says that it would fail again.")] = False,
) -> JobMoved:
    """Failed, cancelled, waiting and done jobs run again, from attempt 0; equal input makes the same objects once.

    A job that failed for what its images or its model are is refused (409): it would fail again. After an update,
    `anyway=true` queues it all the same.
    """
    with backend.catalog.begin() as session:
        state = jobs.retry(session, job_id, backend.catalog.clock(), actor=actor, anyway=anyway)
        return JobMoved(id=job_id, state=state)


@router.post("/jobs/{job_id}/cancel", summary="Cancel a job")
def cancel_job(backend: BackendDep, actor: ActorDep, job_id: str) -> JobMoved:
    """Queued and waiting jobs are cancelled at once; a running one stops at its next batch."""
    with backend.catalog.begin() as session:
        return JobMoved(id=job_id, state=jobs.cancel(session, job_id, backend.catalog.clock(), actor=actor))


@router.post("/bulk", summary="Retry or cancel many", tags=["deliveries"])
def act_on_many(backend: BackendDep, actor: ActorDep, wanted: BulkIn) -> BulkOut:
    """Retry or cancel all jobs or deliveries of a state, route, package, destination or error.

    What failed for a reason that a retry can't help is left out, unless `anyway` is true.
    """
    return bulk.act(backend.catalog, wanted, actor)
