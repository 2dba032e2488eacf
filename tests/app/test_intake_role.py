"""The intake role with a real archive: storage commitment in both directions, and STOW-RS, as configured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydicom import dcmread
from pydicom.data import get_testdata_file

from delivery_site import QUICK, Clock, DeliverySite
from peers import Modality, OrthancFactory, OrthancServer, RedisServer, echoes, free_port, until
from whyray.app.receiving import report_address
from whyray.app.roles import run_intake
from whyray.catalog import Catalog, DeliveryState, sqlite_url
from whyray.config import Config, DicomDestination, Listener, Peer
from whyray.intake import ReportAddress
from whyray.storage import FolderStorage

CT = Path(str(get_testdata_file("CT_small.dcm")))
Start = Callable[..., int]


@pytest.fixture
def intake(tmp_path: Path, redis_server: Callable[[], RedisServer]) -> Iterator[Start]:
    """Runs the role with these sections of whyray.yaml until the test ends; says its DICOM port."""
    stop = threading.Event()
    threads = []

    def start(port: int, **sections: Any) -> int:
        path = tmp_path / "whyray.yaml"
        listener: Any = {"address": "127.0.0.1", "port": port, **sections.pop("listener", {})}
        listener["peers"] = {"TESTS": "127.0.0.1", **listener.get("peers", {})}  # who asks for the echo below
        queue = {"url": redis_server().url}
        path.write_text(
            yaml.safe_dump({"state": str(tmp_path / "state"), "listener": listener, "queue": queue, **sections})
        )
        threads.append(threading.Thread(target=run_intake, args=(path, stop)))
        threads[-1].start()
        until(lambda: echoes(port, "WHYRAY"), what="the listener")
        return port

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def archive(orthanc: OrthancFactory) -> tuple[OrthancServer, int]:
    """An Orthanc that knows WhyRay, and the port at which it expects it."""
    port = free_port()
    return orthanc(modalities={"whyray": Modality("WHYRAY", "127.0.0.1", port)}), port


def committed(pacs: OrthancServer, transaction: str) -> dict[str, Any]:
    """What Orthanc was reported of a request, once it was."""
    path = f"/storage-commitment/{transaction}"
    until(lambda: pacs.get(path)["Status"] != "Pending", what="the report")
    return dict(pacs.get(path))


@pytest.mark.parametrize("known_as", ["peer", "destination"])
def test_orthanc_is_told_what_is_safe_here_and_what_is_not(
    intake: Start, orthanc: OrthancFactory, known_as: str
) -> None:
    pacs, port = archive(orthanc)
    if known_as == "peer":
        intake(port, listener={"peers": {"ORTHANC": {"address": "127.0.0.1", "port": pacs.dicom_port}}})
    else:
        destination = {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": pacs.dicom_port}
        intake(port, listener={"peers": {"ORTHANC": "127.0.0.1"}}, destinations={"pacs": destination})
    (identifier,) = pacs.upload([CT])
    stored = pacs.post(
        "/modalities/whyray/store", {"Resources": [identifier], "StorageCommitment": True, "Synchronous": True}
    )
    safe = committed(pacs, stored["StorageCommitmentTransactionUID"])
    assert (safe["Status"], safe["RemoteAET"]) == ("Success", "WHYRAY")
    image = dcmread(CT, stop_before_pixels=True)
    wanted = [[str(image.SOPClassUID), str(image.SOPInstanceUID)], [str(image.SOPClassUID), "1.2.3.4"]]
    asked = pacs.post("/modalities/whyray/storage-commitment", {"DicomInstances": wanted})
    partly = committed(pacs, asked["ID"])
    assert partly["Status"] == "Failure"
    assert [instance["SOPInstanceUID"] for instance in partly["Success"]] == [str(image.SOPInstanceUID)]
    assert [(instance["SOPInstanceUID"], instance["FailureReason"]) for instance in partly["Failures"]] == [
        ("1.2.3.4", 0x0112)
    ]


def test_orthanc_reports_on_a_new_association_what_whyray_delivered(
    intake: Start, orthanc: OrthancFactory, tmp_path: Path
) -> None:
    pacs, port = archive(orthanc)
    intake(port, listener={"peers": {"ORTHANC": "127.0.0.1"}})
    destination = DicomDestination(
        ae_title="ORTHANC", host="127.0.0.1", port=pacs.dicom_port, timeouts=QUICK, storage_commitment=True
    )
    catalog = Catalog(sqlite_url(tmp_path / "state" / "catalog.sqlite"))
    site = DeliverySite(catalog, FolderStorage(tmp_path / "results"), Clock(), None)  # type: ignore[arg-type]
    site.results([CT], "pacs")
    with site.delivering({"pacs": destination}):
        site.until_state("pacs", DeliveryState.COMMITTED)
    catalog.close()
    assert len(pacs.instances()) == 1


def test_the_role_takes_stow_rs_where_the_configuration_has_it(intake: Start, tmp_path: Path) -> None:
    port = free_port()
    intake(free_port(), listener={"dicomweb": {"port": port}})
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + CT.read_bytes() + b"\r\n--x--"
    response = httpx.post(
        f"http://127.0.0.1:{port}/dicom-web/studies",
        content=body,
        headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'},
    )
    assert response.status_code == 200
    assert len(list((tmp_path / "state" / "instances").rglob("*.dcm"))) == 1


def test_reports_go_to_the_peers_own_port_before_that_of_a_destination_and_nowhere_else() -> None:
    def destination(ae_title: str) -> DicomDestination:
        return DicomDestination(ae_title=ae_title, host="10.0.0.9", port=11113)

    config = Config(
        listener=Listener(peers={"CT_1": Peer(address=("10.0.0.7",), port=4006), "MR_1": Peer(address=("any",))}),
        destinations={"a": destination("CT_1"), "b": destination("PACS")},
    )
    assert report_address(config, "CT_1") == ReportAddress("10.0.0.7", 4006)
    assert report_address(config, "PACS") == ReportAddress("10.0.0.9", 11113)
    assert report_address(config, "MR_1") is None
    with pytest.raises(ValueError, match="one host"):
        Peer(address=("10.0.0.0/24",), port=4006)
