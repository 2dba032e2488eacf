"""A site whose bytes lie in an object store: intake, routing, a job and delivery need no more than `Storage`."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from sqlalchemy import select

from object_storage import Bucket, ObjectStorage
from peers import free_port, until
from site_under_test import Site, film
from whyray.base.errors import NotFound
from whyray.base.sealing import SealingKeys
from whyray.catalog import Catalog, Delivery, DeliveryState, Instance, JobState, ResultRow, audit, keys, known_series
from whyray.config import DicomDestination, Listener
from whyray.delivery import DeliveryService, Pace
from whyray.intake import start_listener
from whyray.jobs.worker import run_job
from whyray.storage import FolderStorage, Storage, open_folder, sweep_orphans


@pytest.fixture(params=["folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return FolderStorage(tmp_path / "a") if request.param == "folder" else ObjectStorage(Bucket(), tmp_path / "a")


def test_a_local_file_holds_what_was_put_and_a_missing_one_is_said_when_it_is_asked_for(storage: Storage) -> None:
    stored = storage.put(iter([b"ab", b"cd"]), suffix=".dcm")
    with storage.local_file(stored.key) as file, storage.open(stored.key) as stream:
        assert file.read_bytes() == stream.read() == b"abcd"
    storage.delete(stored.key)
    with pytest.raises(NotFound), storage.local_file(stored.key):
        raise AssertionError("there is no file")


def test_a_study_is_received_answered_and_delivered_out_of_an_object_store(site: Site, tmp_path: Path) -> None:
    bucket = Bucket()
    storage = ObjectStorage(bucket, tmp_path / "local")
    remote = replace(site, storage=cast(FolderStorage, storage))

    source = film(1)
    _receive(remote, source)
    (instance,) = _rows(remote, Instance)
    assert bucket.get(instance.key) is not None
    remote.router().step()
    (job,) = remote.jobs()
    assert run_job(job.id, "worker-1", remote.job_context()) is JobState.DONE
    assert storage.copied == 1, "of its one image the job had one copy, open as long as its pixels and digest are read"

    results = {row.sop_instance_uid: row for row in _rows(remote, ResultRow)}
    assert sorted(row.kind for row in results.values()) == ["pm", "sc", "sc", "seg", "sr"]
    received = _delivered(remote)
    assert received.keys() == results.keys()
    assert all(uid in _text(bucket, row.key) for uid, row in results.items())
    assert not list(storage.local.iterdir()), "no local copy is left"

    known = [key for row in results.values() for key in (row.key, row.picture_key, row.preview_key) if key]
    storage.put(b"nobody's")
    with remote.catalog.read() as session:
        later = datetime.now(UTC) + timedelta(days=1)
        assert sweep_orphans(storage, lambda batch: keys.known(session, batch), later) == 1
    assert {name for name, _ in bucket.list()} == {*known, instance.key}


def test_a_study_is_received_answered_and_delivered_out_of_an_encrypted_folder(site: Site, tmp_path: Path) -> None:
    keys_at_rest = SealingKeys(bytes(range(32)))
    storage = open_folder(tmp_path / "sealed", keys_at_rest)
    catalog = Catalog(site.catalog.url, clock=site.clock, keys=keys_at_rest)
    sealed = replace(site, storage=storage, catalog=catalog)
    source = film(1)
    source.PatientName, source.PatientID = "Planted^Somebody", "PLANTED-4711"

    _receive(sealed, source)
    sealed.router().step()
    (job,) = sealed.jobs()
    assert run_job(job.id, "worker-1", sealed.job_context()) is JobState.DONE
    results = _rows(sealed, ResultRow)
    delivered = _delivered(sealed)
    assert delivered.keys() == {row.sop_instance_uid for row in results}
    assert {str(dataset.PatientID) for dataset in delivered.values()} == {"PLANTED-4711"}
    for row in results:
        with storage.open(row.key) as file:
            assert dcmread(file).SOPInstanceUID == row.sop_instance_uid

    with catalog.read() as session:
        whose = {audit.event_of(row, keys_at_rest).patient for row in audit.after(session, 0, 100)}
    catalog.close()
    site.catalog.close()
    assert "PLANTED-4711" in whose
    on_disk = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len([file for file in on_disk if file.read_bytes().startswith(b"WHYRAYE1")]) > len(results)
    assert [file.name for file in on_disk if b"planted" in file.read_bytes().lower() and "sealed" in file.parts] == []
    assert [file.name for file in on_disk if b"PLANTED" in file.read_bytes()] == []


def _receive(site: Site, instance: Dataset) -> None:
    listener = Listener(address="127.0.0.1", accept_unknown_peers=True).model_copy(update={"port": 0})
    scp = start_listener(listener, site.catalog, site.storage)
    try:
        ae = AE("MODALITY")
        ae.add_requested_context(instance.SOPClassUID, ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", scp.port, ae_title="WHYRAY")
        assert association.send_c_store(instance).Status == 0
        association.release()
    finally:
        scp.stop(grace=2.0)
    with site.catalog.begin_bare() as transaction:
        known_series.release(transaction, [str(instance.StudyInstanceUID)], site.clock())


def _delivered(site: Site) -> dict[str, Dataset]:
    """What an archive holds after the delivery role has run, by SOP Instance UID."""
    received: dict[str, Dataset] = {}

    def keep(event: evt.Event) -> int:
        received[str(event.dataset.SOPInstanceUID)] = event.dataset
        return 0

    port = free_port()
    ae = AE("ARCHIVE")
    for sop_class in {row.sop_class_uid for row in _rows(site, ResultRow)}:
        ae.add_supported_context(sop_class)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    destinations = {
        name: DicomDestination(ae_title="ARCHIVE", host="127.0.0.1", port=port) for name in ("pacs", "archive")
    }
    stop = threading.Event()
    service = DeliveryService(site.catalog, site.storage, destinations, pace=Pace(look=0.02))
    role = threading.Thread(target=service.run, args=(stop,))
    role.start()
    try:
        until(lambda: {row.state for row in _rows(site, Delivery)} == {DeliveryState.SENT}, what="all results sent")
    finally:
        stop.set()
        role.join()
        server.shutdown()
    return received


def _text(bucket: Bucket, key: str) -> str:
    return (bucket.get(key) or b"").decode("latin-1")


def _rows(site: Site, table: type) -> list:
    with site.catalog.read() as session:
        return list(session.scalars(select(table)))
