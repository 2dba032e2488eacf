"""The service as a whole: dead destinations, reloading, cancel and retry by the API, loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from peers import StoreScp, StoreScpFactory, free_port, until
from planted import planted_package
from running import Running
from synthetic import JAPANESE, radiograph, write
from whyray.catalog import DeliveryState, JobState
from whyray.config import DicomDestination
from whyray.delivery import Caller, send_files

Serve = Callable[..., Running]
RETRY = {"delay": "1s", "ceiling": "2s", "attempts": 1000}


def destination(archive: StoreScp) -> dict[str, object]:
    return {"ae_title": archive.ae_title, "host": archive.host, "port": archive.port, "retry": RETRY}


def route(to: list[str], **changes: object) -> dict[str, object]:
    return {
        "name": "films",
        "when": {"Modality": {"in": ["CR", "DX"]}},
        "complete": {"on_release": True, "quiet_for": "1s", "at_most": "5m"},
        "run": "planted",
        "send": {"to": to, "as": ["sc", "seg", "pm", "sr"]},
        **changes,
    }


def film(folder: Path, name: str, **options: object) -> list[Path]:
    pixels = np.full((64, 56), 300, np.uint16)
    pixels[20:30, 30:40] = 4000
    return write([radiograph(pixels, study=name, series=name, **options)], folder / name)  # type: ignore[arg-type]


def send(running: Running, paths: list[Path]) -> None:
    peer = DicomDestination(ae_title="WHYRAY", host="127.0.0.1", port=running.port)
    assert all(outcome.stored for outcome in send_files(paths, peer, caller=Caller("TESTS")))


def test_a_day_at_the_hospital(serve: Serve, storescp: StoreScpFactory, tmp_path: Path) -> None:
    """One service, from first study to reload, so that its start is paid for once."""
    planted_package(tmp_path / "packages", shape=(64, 64), modalities=("CR", "DX"))
    archive = storescp(ae_title="ARCHIVE")
    dead = {"ae_title": "DEAD", "host": "127.0.0.1", "port": free_port(), "retry": RETRY}
    running = serve(
        {
            "destinations": {"archive": destination(archive), "dead": dead},
            "packages": {"folders": [str(tmp_path / "packages")]},
            "routes": [route(["dead", "archive"])],
        }
    )
    _a_dead_destination_does_not_hold_up_the_living_one(running, archive, tmp_path)
    _a_failed_job_is_retried_by_the_api_and_succeeds(running, tmp_path)
    _late_instances_replace_the_earlier_results_visibly(running, archive, tmp_path)
    _a_broken_configuration_is_reported_and_the_old_one_stays_in_force(running, tmp_path)
    _an_unknown_peer_is_let_in_only_after_the_reload_that_names_it(running, tmp_path)


def _a_dead_destination_does_not_hold_up_the_living_one(running: Running, archive: StoreScp, folder: Path) -> None:
    send(running, film(folder, "first", patient=JAPANESE))
    running.wait_for(
        lambda: (
            [delivery.state for delivery in running.deliveries() if delivery.destination == "archive"]
            == [DeliveryState.SENT] * 5
        ),
        what="five results in the archive: what was found, its page, region, map and report",
    )
    assert set(archive.files()) == {result.sop_instance_uid for result in running.results()}
    waiting = [delivery for delivery in running.deliveries() if delivery.destination == "dead"]
    assert {delivery.state for delivery in waiting} <= {
        DeliveryState.WAITING,
        DeliveryState.QUEUED,
        DeliveryState.SENDING,
    }
    until(lambda: any(delivery.error_code == "PeerUnreachable" for delivery in running.deliveries()), what="the reason")


def _a_failed_job_is_retried_by_the_api_and_succeeds(running: Running, folder: Path) -> None:
    graph = folder / "packages" / "planted" / "1.0.0" / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(b"not a graph")
    send(running, film(folder, "second"))
    job = until(
        lambda: next((job for job in running.jobs() if job.state is JobState.FAILED), None),
        what="the failed job",
        deadline=60,
    )
    assert (job.error_code, bool(job.error_advice)) == ("PackageError", True)
    graph.write_bytes(whole)
    answer = httpx.post(f"{running.api}/jobs/{job.id}/retry", timeout=30)
    assert answer.status_code == 200, answer.text
    running.wait_for(
        lambda: all(job.state is JobState.DONE for job in running.jobs()) and len(running.jobs()) == 2,
        what="the retried job",
    )
    refused = httpx.post(f"{running.api}/jobs/{job.id}/cancel", timeout=30)
    assert refused.status_code == 409


def _late_instances_replace_the_earlier_results_visibly(running: Running, archive: StoreScp, folder: Path) -> None:
    earlier = {result.sop_instance_uid for result in running.results()}
    send(running, film(folder, "second", number=2))
    running.wait_for(
        lambda: any(job.revision == 2 and job.state is JobState.DONE for job in running.jobs()), what="revision 2"
    )
    assert any(job.state is JobState.SUPERSEDED for job in running.jobs())
    fresh = [result for result in running.results() if result.sop_instance_uid not in earlier]
    assert fresh
    assert sum(result.superseded for result in running.results()) == 5
    running.wait_for(lambda: {result.sop_instance_uid for result in fresh} <= set(archive.files()), what="delivery")


def _a_broken_configuration_is_reported_and_the_old_one_stays_in_force(running: Running, folder: Path) -> None:
    good = running.path.read_text()
    running.path.write_text(good.replace("run: planted", "run: plantd"))
    event = until(lambda: running.events("config.refused"), what="the refusal", deadline=30)[0]
    assert "plantd" in event.message
    assert "line" in event.message
    before = len(running.jobs())
    send(running, film(folder, "third", patient=JAPANESE))
    running.wait_for(lambda: len(running.jobs()) == before + 1, what="a job under the old configuration")
    running.path.write_text(good)


def _an_unknown_peer_is_let_in_only_after_the_reload_that_names_it(running: Running, folder: Path) -> None:
    peers = {"FRIEND": {"address": "127.0.0.1"}}
    running.write(listener={"accept_unknown_peers": False, "peers": peers})
    peer = DicomDestination(ae_title="WHYRAY", host="127.0.0.1", port=running.port)
    paths = film(folder, "fourth")

    def taken(name: str) -> bool:
        return all(outcome.stored for outcome in send_files(paths, peer, caller=Caller(name)))

    until(lambda: not taken("TESTS"), what="the refusal of a stranger", deadline=30)
    assert taken("FRIEND")
    # the peer is told first, and the event entered after that
    until(lambda: any("TESTS" in event.message for event in running.events("intake.rejected")), what="the event")


def test_a_full_disk_under_the_log_stops_nothing(
    serve: Serve, storescp: StoreScpFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # so that each line is refused when it is written
    planted_package(tmp_path / "packages", shape=(64, 64), modalities=("CR", "DX"))
    archive = storescp(ae_title="ARCHIVE")
    running = serve(
        {
            "destinations": {"archive": destination(archive)},
            "packages": {"folders": [str(tmp_path / "packages")]},
            "routes": [route(["archive"])],
        },
        output=Path("/dev/full"),
    )
    send(running, film(tmp_path, "first", patient=JAPANESE))
    running.wait_for(lambda: len(archive.files()) == 5, what="five results in the archive")
