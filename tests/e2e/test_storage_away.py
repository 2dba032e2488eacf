"""The disk of images and results goes away under the whole service, and comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from e2e.studies import REPORTS_OF_FILMS
from peers import StoreScpFactory, until
from planted import planted_package
from running import Running
from synthetic import radiograph, write
from whyray.catalog import DeliveryState, JobState
from whyray.config import DicomDestination
from whyray.delivery import Caller, Outcome, send_files


def _send(running: Running, folder: Path, name: str) -> Outcome:
    pixels = np.full((64, 56), 300, np.uint16)
    pixels[20:30, 30:40] = 4000
    paths = write([radiograph(pixels, study=name, series=name)], folder / name)
    peer = DicomDestination(ae_title="WHYRAY", host="127.0.0.1", port=running.port)
    (outcome,) = send_files(paths, peer, caller=Caller("TESTS"))
    return outcome


def test_a_disk_that_goes_away_fails_no_job_and_no_delivery_and_all_goes_on_when_it_is_back(
    serve: Callable[..., Running], storescp: StoreScpFactory, tmp_path: Path
) -> None:
    """Jobs and deliveries failed for good: the objects were called gone, and the page failed with them."""
    planted_package(tmp_path / "packages", shape=(64, 64), modalities=("CR", "DX"))
    archive = storescp(ae_title="ARCHIVE")
    retry = {"delay": "1s", "ceiling": "1s", "attempts": 2}
    running = serve(
        {
            "destinations": {
                "archive": {"ae_title": "ARCHIVE", "host": archive.host, "port": archive.port, "retry": retry}
            },
            "workers": {"retry": retry},
            "packages": {"folders": [str(tmp_path / "packages")]},
            "routes": [REPORTS_OF_FILMS],
        }
    )
    root = running.folder / "state" / "instances"
    elsewhere = root.with_name("disk")
    pids = dict(running.roles())
    worker, delivery = pids["worker"], pids["delivery"]
    os.kill(delivery, signal.SIGSTOP)
    assert _send(running, tmp_path, "delivery").stored
    running.wait_for(running.results, what="a result that is not sent yet")
    os.kill(worker, signal.SIGSTOP)
    assert _send(running, tmp_path, "job").stored
    running.wait_for(lambda: len(running.jobs()) == 2, what="a job that has not begun")
    root.rename(elsewhere)
    root.mkdir()
    for pid in (worker, delivery):
        os.kill(pid, signal.SIGCONT)

    refused = _send(running, tmp_path, "refused")
    assert refused.status == 0xA700
    # each more often than it may be tried of its own fault
    until(lambda: running.log.read_text().count("waiting: StorageUnavailable") > 4, what="attempts at the job")
    until(lambda: [row.error_code for row in running.deliveries()] == ["StorageUnavailable"], what="the delivery")
    assert "storage.away" in [item["kind"] for item in running.get("/overview")["attention"]]
    assert list(root.iterdir()) == []

    root.rmdir()
    elsewhere.rename(root)
    assert _send(running, tmp_path, "refused").stored
    running.wait_for(
        lambda: (
            len(running.jobs()) == 3
            and all(job.state is JobState.DONE for job in running.jobs())
            and all(row.state is DeliveryState.SENT for row in running.deliveries())
        ),
        what="all of them answered and delivered",
    )
    assert set(archive.files()) == {result.sop_instance_uid for result in running.results()}
    assert "storage.away" not in [item["kind"] for item in running.get("/overview")["attention"]]
