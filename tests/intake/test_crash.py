"""The promise of a Success: what was acknowledged is there after the process was killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from sqlalchemy import select

from intake.crash_child import KEYS
from intake.scu import NoAssociationError, Sender, digest, encode, small
from intake.web import answered, multipart, part10, post_to
from peers import free_port
from whyray.catalog import Catalog, Instance, audit, keys, sqlite_url
from whyray.storage import FolderStorage, sweep_orphans

KILLS = 30
SENDERS = 3
WEB_SENDERS = 2


class Listening:
    """A listener in a process of its own, started again after each kill."""

    def __init__(self, folder: Path) -> None:
        self.port, self.web_port = free_port(), free_port()
        tests = Path(__file__).parents[1]
        self._nursery = subprocess.Popen(
            [sys.executable, str(tests / "intake" / "crash_child.py"), str(folder), str(self.port), str(self.web_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(tests)},
            text=True,
        )

    def start(self) -> int:
        """The process id of a new listener, which listens."""
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write("\n")
        self._nursery.stdin.flush()
        return int(self._nursery.stdout.readline())

    def close(self) -> None:
        self._nursery.communicate()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    listening = Listening(tmp_path)
    yield listening
    listening.close()


class Modality(threading.Thread):
    """Sends one instance after another, and writes down which were acknowledged, as {SOP Instance UID: digest}."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name=name, daemon=True)
        self.port = port
        self.acknowledged: dict[str, str] = {}
        self.unexpected: list[str] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            try:
                with Sender(self.port, calling=self.name) as sender:
                    while not self.stopping.is_set():
                        number += 1
                        instance = small(number, study=f"{self.name}-{number // 10}", pixels=os.urandom(2048))
                        data = encode(instance)
                        status = sender.store(data, instance.SOPInstanceUID)
                        if status.Status == 0:
                            self.acknowledged[instance.SOPInstanceUID] = digest(data)
                        else:
                            self.unexpected.append(f"0x{status.Status:04X} {status.ErrorComment}")
            except NoAssociationError:
                self.stopping.wait(0.005)


class WebModality(Modality):
    """Sends requests of three instances by STOW-RS."""

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            number += 1
            instances = [small(3 * number + index, study=f"{self.name}-{number}") for index in range(3)]
            try:
                response = post_to(self.port, multipart(*(part10(instance) for instance in instances)))
            except httpx.TransportError:
                self.stopping.wait(0.005)
                continue
            stored = answered(response)[0] if response.status_code in (200, 202) else []
            self.acknowledged |= {
                instance.SOPInstanceUID: digest(encode(instance))
                for instance in instances
                if instance.SOPInstanceUID in stored
            }
            if len(stored) != len(instances):
                self.unexpected.append(f"{response.status_code} {response.text}")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_instance_acknowledged_before_a_kill_is_in_the_catalog_and_in_storage_after_it(
    listening: Listening, tmp_path: Path
) -> None:
    seed = int(os.environ.get("WHYRAY_TEST_SEED", random.SystemRandom().randrange(2**32)))
    sys.stdout.write(f"WHYRAY_TEST_SEED={seed}\n")
    moments = random.Random(seed)
    senders = [Modality(f"MODALITY{number}", listening.port) for number in range(SENDERS)]
    senders += [WebModality(f"WEB{number}", listening.web_port) for number in range(WEB_SENDERS)]
    process = listening.start()
    for sender in senders:
        sender.start()
    acknowledged_at_kills = []
    for _ in range(KILLS):
        time.sleep(moments.uniform(0.0, 0.6))  # the moment of the kill, not a wait for anything
        os.kill(process, signal.SIGKILL)
        acknowledged_at_kills.append(sum(len(sender.acknowledged) for sender in senders))
        process = listening.start()
    for sender in senders:
        sender.stopping.set()
    for sender in senders:
        sender.join(timeout=60)
    os.kill(process, signal.SIGKILL)

    acknowledged = {uid: sha256 for sender in senders for uid, sha256 in sender.acknowledged.items()}
    moved = len(set(acknowledged_at_kills))
    sys.stdout.write(f"{KILLS} kills, {len(acknowledged)} acknowledged, {moved} different counts at kills\n")
    assert [problem for sender in senders for problem in sender.unexpected] == []
    assert moved > KILLS // 3, "the kills did not meet work in progress"
    assert all(sender.acknowledged for sender in senders)
    catalog = Catalog(sqlite_url(tmp_path / "catalog.sqlite"))
    storage = FolderStorage(tmp_path / "instances", keys=KEYS)
    with catalog.read() as session:
        rows = session.scalars(select(Instance.key))
        sealed = {(storage.root / key).read_bytes().startswith(b"WHYRAYE1") for key in rows}
        assert audit.verify(session).broken_at is None
    assert sealed == {False, True}
    assert _missing(acknowledged, catalog, storage) == []
    with catalog.read() as session:
        swept = sweep_orphans(storage, lambda some: keys.known(session, some), datetime.now(UTC) + timedelta(days=1))
    sys.stdout.write(f"{swept} leftovers swept\n")
    assert _missing(acknowledged, catalog, storage) == []
    catalog.close()


def _missing(acknowledged: dict[str, str], catalog: Catalog, storage: FolderStorage) -> list[str]:
    with catalog.read() as session:
        rows = {row.sop_instance_uid: row for row in session.scalars(select(Instance))}
    missing = []
    for uid, sha256 in acknowledged.items():
        row = rows.get(uid)
        if row is None:
            missing.append(f"{uid}: no row")
        elif row.sha256 != sha256:
            missing.append(f"{uid}: another digest in the catalog")
        elif not storage.exists(row.key):
            missing.append(f"{uid}: no bytes")
        else:
            with storage.local_file(row.key) as file:
                if digest(_data_set(file)) != sha256:
                    missing.append(f"{uid}: other bytes")
    return missing


def _data_set(path: Path) -> bytes:
    content = path.read_bytes()
    meta = dcmread(path, specific_tags=[]).file_meta
    return content[128 + 4 + 12 + meta.FileMetaInformationGroupLength :]
