"""The overview: tallies, queue, roles, storage, what needs attention; and the values that lists are filtered by."""

from __future__ import annotations

from typing import get_args

from fastapi import APIRouter

import whyray
from whyray.admin.attention import shown_attention
from whyray.admin.backend import ActorDep, Backend, BackendDep
from whyray.admin.service_schemas import Choices, DestinationTally, Overview, ProcessOut, QueueOut
from whyray.base.errors import StorageUnavailable
from whyray.base.finding_record import GradeName
from whyray.catalog import DeliveryState, JobState, Severity, StudyState
from whyray.catalog.overview import overview as counted
from whyray.catalog.shortages import Disks
from whyray.config import KIND_TITLES, ResultKind

router = APIRouter(tags=["overview"])


@router.get("/overview", summary="Tallies, queue, roles, storage, and what needs attention")
def overview(backend: BackendDep, actor: ActorDep) -> Overview:
    """What the first view of the admin page shows."""
    now = backend.catalog.clock()
    site = backend.site()
    names = [destination.name for destination in site.destinations]
    free, disks = _disks(backend, site.min_free_disk)
    with backend.catalog.read() as session:
        installation = counted(session, now, destinations=names, disks=disks)
        watched = backend.drift.look(session, now)
    return Overview.model_validate(
        {
            "version": whyray.__version__,
            "actor": actor,
            "jobs": installation.jobs,
            "studies": installation.studies,
            "deliveries": [DestinationTally.model_validate(state) for state in installation.destinations],
            "queue": QueueOut.model_validate(installation.queue),
            "processes": [ProcessOut.model_validate(role) for role in installation.roles],
            "storage_free_bytes": _rounded(free),
            "attention": shown_attention(installation.attention, now, watched=watched),
        }
    )


@router.get("/choices", summary="The values that lists can be filtered by")
def choices() -> Choices:
    """States, kinds of results, grades and severities, each in the order in which the page offers them."""
    return Choices(
        job_states=list(JobState),
        delivery_states=list(DeliveryState),
        study_states=list(get_args(StudyState)),
        result_kinds=list(get_args(ResultKind)),
        kind_titles=dict(KIND_TITLES),
        grades=list(get_args(GradeName)),
        severities=list(get_args(Severity)),
    )


def _disks(backend: Backend, refused_below: int) -> tuple[int, Disks]:
    """Free bytes of storage, 0 where it is away; and all that is told of the disks: this page is where that is."""
    catalog = backend.catalog.disk_space()
    try:
        if (hindrance := backend.store.hindrance()) is None:
            space, free = backend.store.disk_space(), backend.store.free_bytes()
            return free, Disks(space, catalog, refused_below)
        words = hindrance.message
    except (StorageUnavailable, OSError) as error:  # it went between two questions
        words = error.message if isinstance(error, StorageUnavailable) else f"storage: {error.strerror}"
    return 0, Disks(None, catalog, storage_away=words)


def _rounded(free: int) -> int:
    # to 16 MiB, so that the answer does not change with every written log line
    return free >> 24 << 24
