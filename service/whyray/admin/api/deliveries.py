"""Deliveries: list, detail, retry, cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from whyray.admin import queries as reading
from whyray.admin.backend import ActorDep, BackendDep, PagingDep
from whyray.admin.describe import delivery_out
from whyray.admin.listing import paged, part_of
from whyray.admin.lists import delivery_list
from whyray.admin.schemas import DeliveryMoved, DeliveryOut, Page
from whyray.catalog import DeliveryState, deliveries

router = APIRouter(tags=["deliveries"])


@router.get("/deliveries", summary="List deliveries")
def list_deliveries(
    backend: BackendDep,
    paging: PagingDep,
    state: Annotated[list[DeliveryState], Query(description="Only these states.")] = [],  # noqa: B006
    destination: Annotated[str | None, Query(description="Only to this destination.")] = None,
    route: Annotated[str | None, Query(description="Only of this route.")] = None,
    error: Annotated[str | None, Query(description="Only what failed, or waits, by this error (its code).")] = None,
    study: Annotated[str | None, Query(description="Only of this Study Instance UID.")] = None,
) -> Page[DeliveryOut]:
    """Deliveries, newest first, with the status that the PACS itself answered."""
    with backend.catalog.read() as session:
        listing = delivery_list(
            session, state=state, destination=destination, route=route, error=error, study_uid=study
        )
        part = part_of(session, listing, paging)
        return paged(part, [delivery_out(row) for row in part.rows], paging.limit)


@router.get("/deliveries/{delivery_id}", summary="Show a delivery")
def show_delivery(backend: BackendDep, delivery_id: str) -> DeliveryOut:
    """One result on its way to one destination."""
    with backend.catalog.read() as session:
        return delivery_out(reading.delivery(session, delivery_id))


@router.post("/deliveries/{delivery_id}/retry", summary="Send again")
def retry_delivery(
    backend: BackendDep,
    actor: ActorDep,
    delivery_id: str,
    anyway: Annotated[bool, Query(description="Also where the error says that it would fail again.")] = False,
) -> DeliveryMoved:
    """Queue it again, from attempt 0; what was sent already is sent once more.

    One whose object is gone or can't be read is refused (409), unless `anyway` is true.
    """
    with backend.catalog.begin() as session:
        state = deliveries.retry(session, delivery_id, backend.catalog.clock(), actor=actor, anyway=anyway)
        return DeliveryMoved(id=delivery_id, state=state)


@router.post("/deliveries/{delivery_id}/cancel", summary="Cancel a delivery")
def cancel_delivery(backend: BackendDep, actor: ActorDep, delivery_id: str) -> DeliveryMoved:
    """Never send it; only while it is queued or waiting."""
    with backend.catalog.begin() as session:
        state = deliveries.cancel(session, delivery_id, backend.catalog.clock(), actor=actor)
        return DeliveryMoved(id=delivery_id, state=state)
