"""An announcement that failed or waits is seen by an administrator, who can have it told again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from admin.scene import Scene
from whyray.base.errors import PeerRefused, PeerUnreachable, WhyRayError
from whyray.catalog import Announcement, DeliveryState, announcements, deliveries


@pytest.fixture
def tell(scene: Scene) -> Callable[[WhyRayError, timedelta | None], None]:
    """Sends all that is queued for the destination `research`, and fails to announce it."""

    def fail(error: WhyRayError, retry_after: timedelta | None) -> None:
        with scene.catalog.begin() as session:
            deliveries.wake(session, scene.now + timedelta(days=1))
            session.flush()
            for delivery in deliveries.claim_batch(session, "research", "delivery-1", scene.now):
                deliveries.sent(session, delivery.id, "delivery-1", 200, "HTTP 200 OK", scene.now, announce_as="2.25.8")
            session.flush()
            (row,) = announcements.claim(session, "research", "delivery-1", scene.now, committed=False)
            announcements.stop(session, row.id, "delivery-1", error, scene.now, retry_after=retry_after)

    return fail


def state_of(scene: Scene) -> DeliveryState:
    with scene.catalog.read() as session:
        return session.scalars(select(Announcement)).one().state


def attention(client: TestClient, kind: str) -> Any:
    entries = client.get("/api/v1/overview").json()["attention"]
    return next((entry for entry in entries if entry["kind"] == kind), None)


def test_one_that_failed_needs_attention_is_an_event_and_can_be_retried(
    scene: Scene, client: TestClient, tell: Callable[[WhyRayError, timedelta | None], None]
) -> None:
    assert attention(client, "announcements.failed") is None
    tell(PeerRefused("RIS@10.0.20.9:104 answered 0x0124 Not authorised to N-CREATE"), None)
    failed = attention(client, "announcements.failed")
    assert failed["severity"] == "error"
    assert failed["title"] == "1 announcement of results at research failed: PeerRefused"
    assert "0x0124" in failed["message"]
    view, _, kind = failed["view"].partition("?kind=")
    assert [row["severity"] for row in client.get(f"/api/v1/{view}", params={"kind": kind}).json()["items"]] == [
        "error"
    ]
    (remedy,) = failed["remedies"]
    assert client.post("/api/v1/bulk", json=remedy["body"]).json() == {"matched": 1, "moved": 1, "refused": 0}
    assert state_of(scene) is DeliveryState.QUEUED
    assert attention(client, "announcements.failed") is None


def test_one_that_waits_is_told_of_and_can_be_cancelled(
    scene: Scene, client: TestClient, tell: Callable[[WhyRayError, timedelta | None], None]
) -> None:
    tell(PeerUnreachable("RIS@10.0.20.9:104 can't be connected to within 10 s"), timedelta(hours=1))
    waiting = attention(client, "announcements.waiting")
    assert (waiting["severity"], waiting["count"]) == ("warning", 1)
    wanted = {"of": "announcements", "action": "cancel", "state": "waiting"}
    assert client.post("/api/v1/bulk", json=wanted | {"route": "head CT"}).json()["matched"] == 0
    assert client.post("/api/v1/bulk", json=wanted | {"route": "chest radiographs"}).json()["moved"] == 1
    assert state_of(scene) is DeliveryState.CANCELLED
    assert client.post("/api/v1/bulk", json=wanted | {"state": "sent"}).status_code == 409
