"""Flow, failures and what to do, at a glance."""

from __future__ import annotations

from fastapi import APIRouter

import whyray
from whyray.admin import figures
from whyray.admin import queries as reading
from whyray.admin.attention import attention
from whyray.admin.backend import Actor, Using
from whyray.admin.schemas import Overview
from whyray.catalog import jobs

router = APIRouter(tags=["overview"])


@router.get("/overview", summary="Tallies, queue, roles, storage, and what needs attention")
def overview(backend: Using, actor: Actor) -> Overview:
    """What the first view of the admin page shows."""
    now = backend.catalog.clock()
    names = [destination.name for destination in backend.site().destinations]
    free = backend.store.free_bytes()
    with backend.catalog.read() as session:
        return Overview.model_validate(
            {
                "version": whyray.__version__,
                "actor": actor,
                "jobs": jobs.tally(session),
                "studies": reading.study_tally(session),
                "deliveries": figures.destinations(session, names),
                "queue": figures.queue(session),
                "processes": figures.roles(session, now),
                "storage_free_bytes": _rounded(free),
                "attention": attention(
                    session,
                    now,
                    destinations=names,
                    free_bytes=free,
                    watched=backend.drift.look(session, now),
                ),
            }
        )


def _rounded(free: int) -> int:
    # to 16 MiB, so that the answer does not change with every written log line
    return free >> 24 << 24
