"""Whatever dies, at whatever moment: what was acknowledged is in the catalog, and in the end comes back as results."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset
from pynetdicom import AE

from peers import StoreScp, StoreScpFactory, until
from planted import planted_package
from running import Running
from synthetic import radiograph
from whyray.catalog import DeliveryState, Instance, Job, JobState

KILLS = 32
SEED = 20261123


class Sender(threading.Thread):
    """Sends one radiograph after another, each a study of its own, and remembers what was acknowledged."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.acknowledged: list[str] = []
        self.end = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.end.is_set():
            number += 1
            self._send(_film(number))
            self.end.wait(0.15)

    def _send(self, data: FileDataset) -> None:
        ae = AE("SENDER")
        ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = 10
        ae.add_requested_context(data.SOPClassUID, data.file_meta.TransferSyntaxUID)
        association = ae.associate("127.0.0.1", self.port, ae_title="WHYRAY")
        if not association.is_established:
            return
        try:
            status = association.send_c_store(data)
        except RuntimeError:  # the association died under it
            return
        if status and status.Status == 0x0000:
            self.acknowledged.append(str(data.SOPInstanceUID))
        if association.is_established:
            association.release()


def _film(number: int) -> FileDataset:
    pixels = np.full((40, 40), 300, np.uint16)
    pixels[10:16, 20:26] = 4000
    return radiograph(pixels, study=f"kill {number}", series=f"kill {number}", number=number)


def test_no_acknowledged_instance_is_lost_though_processes_are_killed_at_random_moments(
    serve: Callable[..., Running], storescp: StoreScpFactory, tmp_path: Path
) -> None:
    archive = storescp(ae_title="ARCHIVE")
    planted_package(tmp_path / "packages", shape=(40, 40))
    running = serve(
        {
            "destinations": {"archive": _destination(archive)},
            "packages": {"folders": [str(tmp_path / "packages")]},
            "workers": {"retry": {"attempts": 50}},
            "routes": [
                {
                    "name": "films",
                    "when": {"Modality": "CR"},
                    "complete": {"on_release": True, "quiet_for": "1s", "at_most": "5m"},
                    "run": "planted",
                    "send": {"to": ["archive"], "as": ["sr"]},
                }
            ],
        }
    )
    chance = random.Random(SEED)
    sender = Sender(running.port)
    sender.start()
    kills = 0
    while kills < KILLS:
        time.sleep(chance.uniform(0.1, 1.2))  # the random moment itself, not a wait for something
        pids = running.pids()
        if pids:
            os.kill(chance.choice(pids), signal.SIGKILL)
            kills += 1
    until(lambda: len(sender.acknowledged) >= 20, what="twenty acknowledged instances", deadline=120)
    sender.end.set()
    sender.join(60)

    acknowledged = set(sender.acknowledged)
    kept = {instance.sop_instance_uid: instance for instance in running.rows(Instance)}
    assert acknowledged - set(kept) == set(), f"seed {SEED}: acknowledged and not in the catalog"
    for instance in kept.values():
        assert (running.folder / "state" / "instances" / instance.key).exists()

    running.wait_for(
        lambda: (
            len(running.jobs()) >= len(kept)
            and all(job.state is JobState.DONE for job in running.jobs())
            and all(delivery.state is DeliveryState.SENT for delivery in running.deliveries())
        ),
        what="all of them answered and delivered",
        deadline=240,
    )
    jobs: list[Job] = running.jobs()
    assert len(jobs) == len({(job.study_id, job.route, job.package) for job in jobs}), "no job is doubled"
    assert set(archive.files()) == {result.sop_instance_uid for result in running.results()}


def _destination(archive: StoreScp) -> dict[str, object]:
    retry = {"delay": "1s", "ceiling": "2s", "attempts": 100}
    return {"ae_title": archive.ae_title, "host": archive.host, "port": archive.port, "retry": retry}
