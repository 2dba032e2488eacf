"""What Prometheus sees: true at each scrape, and nothing that names a patient or a study."""

from __future__ import annotations

from datetime import timedelta

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from admin.scene import Scene
from whyray.catalog import JobState


def scrape(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_every_state_of_jobs_has_a_figure_and_it_follows_the_catalog(scene: Scene, client: TestClient) -> None:
    before = scrape(client)
    figures = {state: before["whyray_jobs", (("state", state.value),)] for state in JobState}
    assert figures == {state: 2.0 if state is JobState.QUEUED else 1.0 for state in JobState}
    client.post(f"/api/v1/jobs/{scene.jobs['failed']}/retry")
    after = scrape(client)
    assert after["whyray_jobs", (("state", "failed"),)] == 0
    assert after["whyray_jobs", (("state", "queued"),)] == 3


def test_deliveries_are_counted_by_destination_and_state(client: TestClient) -> None:
    figures = scrape(client)
    assert figures["whyray_deliveries", (("destination", "research"), ("state", "waiting"))] == 2
    assert figures["whyray_deliveries", (("destination", "pacs"), ("state", "committed"))] == 1
    assert figures["whyray_deliveries", (("destination", "pacs"), ("state", "cancelled"))] == 0


def test_the_oldest_queued_job_grows_older(scene: Scene, client: TestClient) -> None:
    before = scrape(client)["whyray_oldest_queued_job_age_seconds", ()]
    scene.now += timedelta(seconds=90)
    assert scrape(client)["whyray_oldest_queued_job_age_seconds", ()] == before + 90


def test_intake_storage_and_roles_are_there(scene: Scene, client: TestClient) -> None:
    figures = scrape(client)
    assert figures["whyray_instances_received", ()] == 22
    assert figures["whyray_instance_conflicts", ()] == 1
    assert figures["whyray_studies_receiving", ()] == 2
    assert figures["whyray_storage_free_bytes", ()] > 0
    assert figures["whyray_processes", (("alive", "false"), ("role", "delivery"))] == 1
    assert figures["whyray_processes", (("alive", "true"), ("role", "worker"))] == 1
    assert scene.now.timestamp() - figures["whyray_last_instance_timestamp_seconds", ()] < 60


def test_no_figure_names_a_study_a_job_or_a_person(scene: Scene, client: TestClient) -> None:
    text = client.get("/metrics").text
    assert "2.25." not in text
    assert not any(job in text for job in scene.jobs.values())
    assert "python_" not in text
