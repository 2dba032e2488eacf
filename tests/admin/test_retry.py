"""Retry is offered where it can help, and what is said of another attempt is what happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from admin.scene import Scene
from whyray.base.errors import (
    DecodeError,
    GeometryError,
    InputChanged,
    ModelOutputError,
    PeerBusy,
    PeerUnreachable,
    ResourceExhausted,
    WhyRayError,
    uncorrectable_codes,
)
from whyray.catalog import Delivery, DeliveryState, JobState, deliveries, jobs


def fail_job(scene: Scene, error: WhyRayError, retry_after: timedelta | None = None) -> str:
    job_id = scene.jobs["queued"]
    with scene.catalog.begin() as session:
        assert jobs.claim(session, job_id, "worker-9", scene.now) is not None
        jobs.stop(session, job_id, "worker-9", error, scene.now, retry_after=retry_after)
    return job_id


def fail_delivery(scene: Scene, error: WhyRayError, retry_after: timedelta | None) -> str:
    with scene.catalog.begin() as session:
        deliveries.wake(session, scene.now + timedelta(days=1))
        session.flush()
        (row,) = deliveries.claim_batch(session, "pacs", "delivery-9", scene.now, most=1)
        deliveries.stop(session, row.id, "delivery-9", error, scene.now, status=0xA700, retry_after=retry_after)
        return str(row.id)


def get(client: TestClient, path: str) -> Any:
    return client.get(f"/api/v1/{path}").json()


@pytest.mark.parametrize("kind", [DecodeError, GeometryError, ModelOutputError, InputChanged])
def test_a_job_that_would_fail_again_is_not_offered_for_retry(
    scene: Scene, client: TestClient, kind: type[WhyRayError]
) -> None:
    job_id = fail_job(scene, kind("instance 1.2.3: something that stays as it is"))
    assert get(client, f"jobs/{job_id}")["actions"] == []
    refused = client.post(f"/api/v1/jobs/{job_id}/retry")
    assert refused.status_code == 409
    assert kind.__name__ in refused.json()["message"]
    (attention,) = [entry for entry in get(client, "overview")["attention"] if kind.__name__ in entry["title"]]
    assert attention["remedies"] == []
    named = {"of": "jobs", "action": "retry", "state": "failed", "error_code": kind.__name__}
    assert client.post("/api/v1/bulk", json=named).status_code == 409


def test_it_can_be_retried_all_the_same_after_an_update(scene: Scene, client: TestClient) -> None:
    job_id = fail_job(scene, DecodeError("instance 1.2.3: truncated"))
    moved = client.post(f"/api/v1/jobs/{job_id}/retry", params={"anyway": "true"})
    assert moved.json() == {"id": job_id, "state": "queued"}


def test_retrying_all_failed_jobs_leaves_out_those_that_would_fail_again(scene: Scene, client: TestClient) -> None:
    hopeless = fail_job(scene, DecodeError("instance 1.2.3: truncated"))
    wanted = {"of": "jobs", "action": "retry", "state": "failed"}
    assert client.post("/api/v1/bulk", json=wanted | {"dry_run": True}).json()["matched"] == 1
    assert client.post("/api/v1/bulk", json=wanted).json() == {"matched": 1, "moved": 1, "refused": 0}
    with scene.catalog.read() as session:
        assert jobs.get(session, hopeless).state is JobState.FAILED
        assert jobs.get(session, scene.jobs["failed"]).state is JobState.QUEUED
    assert client.post("/api/v1/bulk", json=wanted | {"anyway": True}).json()["moved"] == 1


def test_a_delivery_whose_object_is_gone_is_not_offered_for_retry(scene: Scene, client: TestClient) -> None:
    delivery_id = fail_delivery(scene, DecodeError("the file of 1.2.3 is gone"), None)
    assert get(client, f"deliveries/{delivery_id}")["actions"] == []
    assert client.post(f"/api/v1/deliveries/{delivery_id}/retry").status_code == 409
    with scene.catalog.read() as session:
        assert session.get_one(Delivery, delivery_id).state is DeliveryState.FAILED


def test_only_a_delivery_that_waits_is_said_to_be_tried_again(scene: Scene, client: TestClient) -> None:
    busy = PeerBusy("PACS_MAIN answered 0xA700 Refused: out of resources to 1.2.3")
    waiting = get(client, f"deliveries/{fail_delivery(scene, busy, timedelta(minutes=1))}")
    assert waiting["error"]["advice"].endswith("WhyRay tries again by itself.")
    last = get(client, f"deliveries/{fail_delivery(scene, busy, None)}")
    assert last["state"] == "failed"
    assert "tries again by itself" not in last["error"]["advice"]
    assert "was the last that WhyRay makes by itself" in last["error"]["advice"]
    assert last["actions"] == ["retry"]


def test_only_a_job_that_waits_is_said_to_be_tried_again(scene: Scene, client: TestClient) -> None:
    failed = get(client, f"jobs/{fail_job(scene, ResourceExhausted('not enough memory'))}")
    assert "tried again" not in failed["error"]["advice"]
    assert "was the last" in failed["error"]["advice"]


@pytest.mark.parametrize("kind", [PeerBusy, PeerUnreachable, ResourceExhausted])
def test_no_error_promises_another_attempt_where_it_is_raised(kind: type[WhyRayError]) -> None:
    assert "again" not in kind("something").advice


def test_what_passes_by_itself_or_can_be_put_right_may_be_retried() -> None:
    hopeless = uncorrectable_codes()
    assert {"DecodeError", "ImageError", "GeometryError", "ModelOutputError"} <= hopeless
    assert not {"PeerRefused", "PeerBusy", "PackageError", "WorkerLost", "TimeLimit", "NotFound"} & hopeless
