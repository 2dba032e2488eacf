"""Instance Availability Notification as its user: told of once, when all has arrived, whatever dies in between."""

from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage
from pynetdicom import evt
from pynetdicom.sop_class import Verification

from delivery_site import DeliverySite, RisFactory, ScpFactory, deliver
from peers import free_port, until
from whyray.catalog import DeliveryState, announcements, deliveries
from whyray.config import DicomWebDestination
from whyray.delivery import enter_report

SENT, WAITING, FAILED, QUEUED = DeliveryState.SENT, DeliveryState.WAITING, DeliveryState.FAILED, DeliveryState.QUEUED


def instances(content: Dataset) -> dict[str, list[str]]:
    """Series Instance UID → SOP Instance UIDs."""
    return {
        str(series.SeriesInstanceUID): [
            str(reference.ReferencedSOPInstanceUID) for reference in series.ReferencedSOPSequence
        ]
        for series in content.ReferencedSeriesSequence
    }


def tags(content: Dataset) -> set[str]:
    """Keywords at all levels."""
    return {element.keyword for element in content.iterall()}


def another_series(image: Path, folder: Path) -> Path:
    """The image as a Secondary Capture of a series of its own."""
    ds = dcmread(image)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    ds.SeriesInstanceUID = "2.25.7"
    ds.save_as(folder / "page.dcm")
    return folder / "page.dcm"


def test_nobody_is_told_before_the_last_result_of_a_job_has_arrived(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path]
) -> None:
    uids = site.results(images[:3], "pacs")
    site.results(images[3:5], "pacs")
    late = uids[1]
    peer, informed = scp(lambda uid, _count: 0xA700 if uid == late else 0), ris()
    with site.delivering({"pacs": peer.destination(announce_to=informed.settings())}):
        site.until_settled("pacs")
        site.until_announcements(QUEUED, SENT)
        assert informed.studies() == ["1.2.3.2"], "the second job's results have arrived, the first's have not"
        peer.answer = lambda _uid, _count: 0
        site.clock.forward(timedelta(hours=2))
        site.until_announcements(SENT, SENT)
    assert informed.studies() == ["1.2.3.2", "1.2.3.1"]
    ((_, told),) = informed.told[1:]
    assert [uid for of_series in instances(told).values() for uid in of_series] == uids


def test_the_notification_says_what_the_standard_wants_and_nothing_else(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path], tmp_path: Path
) -> None:
    page = another_series(images[0], tmp_path)
    uids = site.results([*images[:2], page], "pacs")
    peer, informed = scp(), ris()
    with site.delivering({"pacs": peer.destination(announce_to=informed.settings())}):
        (row,) = site.until_announcements(SENT)
    ((uid, content),) = informed.told
    assert uid == row.uid
    assert content.StudyInstanceUID == "1.2.3.1"
    assert content["ReferencedPerformedProcedureStepSequence"].is_empty
    series = str(dcmread(images[0], stop_before_pixels=True).SeriesInstanceUID)
    assert instances(content) == {series: uids[:2], "2.25.7": ["2.25.77"]}
    items = [reference for one in content.ReferencedSeriesSequence for reference in one.ReferencedSOPSequence]
    assert [reference.ReferencedSOPClassUID for reference in items] == [
        CTImageStorage,
        CTImageStorage,
        SecondaryCaptureImageStorage,
    ]
    assert {(reference.InstanceAvailability, reference.RetrieveAETitle) for reference in items} == {
        ("ONLINE", "TELLING")
    }
    assert tags(content) == {
        "ReferencedPerformedProcedureStepSequence",
        "StudyInstanceUID",
        "ReferencedSeriesSequence",
        "SeriesInstanceUID",
        "ReferencedSOPSequence",
        "ReferencedSOPClassUID",
        "ReferencedSOPInstanceUID",
        "InstanceAvailability",
        "RetrieveAETitle",
    }


def test_what_went_to_a_url_is_announced_with_its_url_and_the_ae_that_the_configuration_names(
    site: DeliverySite, ris: RisFactory, images: list[Path]
) -> None:
    informed = ris()
    site.results(images[:1], "archive")
    destination = DicomWebDestination(
        url="http://127.0.0.1:1/dicom-web", announce_to=informed.settings(retrieve_ae_title="ARCHIVE")
    )
    with site.catalog.begin() as session:
        (claimed,) = deliveries.claim_batch(session, "archive", "a sender", site.clock())
        deliveries.sent(session, claimed.id, "a sender", 200, "HTTP 200 OK", site.clock(), announce_as="2.25.1")
    with site.delivering({"archive": destination}):
        site.until_announcements(SENT)
    ((uid, content),) = informed.told
    assert uid == "2.25.1"
    ((series, (instance,)),) = instances(content).items()
    item = content.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert item.RetrieveAETitle == "ARCHIVE"
    assert item.RetrieveURL == f"{destination.url}/studies/1.2.3.1/series/{series}/instances/{instance}"


def test_another_ae_can_be_named_for_retrieval(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path]
) -> None:
    peer, informed = scp(), ris()
    site.results(images[:1], "pacs")
    with site.delivering({"pacs": peer.destination(announce_to=informed.settings(retrieve_ae_title="QR"))}):
        site.until_announcements(SENT)
    ((_, content),) = informed.told
    assert content.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].RetrieveAETitle == "QR"


def test_where_commitment_is_asked_for_nobody_is_told_before_the_peer_has_committed(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path]
) -> None:
    peer, informed = scp(commitment=True), ris()
    uids = site.results(images[:2], "pacs")
    destination = peer.destination(storage_commitment=True, announce_to=informed.settings())
    with site.delivering({"pacs": destination}):
        (request,) = until(lambda: peer.commitments, what="the request for commitment")
        with site.catalog.read() as session:
            assert announcements.due(session, "pacs", site.clock(), committed=False)
            assert not announcements.due(session, "pacs", site.clock(), committed=True)
        assert informed.told == []
        enter_report(site.catalog, str(request.TransactionUID), uids[:1], {})
        site.until_announcements(QUEUED)
        assert informed.told == []
        enter_report(site.catalog, str(request.TransactionUID), uids[1:], {})
        site.until_announcements(SENT)
    assert len(informed.told) == 1


def test_where_nobody_is_to_be_told_nothing_is_announced_nor_when_that_changes_later(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path]
) -> None:
    peer, informed = scp(), ris()
    site.results(images[:2], "pacs")
    with site.delivering({"pacs": peer.destination()}) as service:
        site.until_state("pacs", SENT)
        assert site.announcements() == []
        service.reload({"pacs": peer.destination(announce_to=informed.settings())})
        site.results(images[2:4], "pacs")
        site.until_announcements(SENT)
    assert informed.studies() == ["1.2.3.2"]


@pytest.mark.parametrize("associations", [1, 3])
def test_a_job_is_announced_once_over_however_many_associations_its_results_went(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path], associations: int
) -> None:
    peer, informed = scp(), ris()
    uids = site.results(images, "pacs")
    destination = peer.destination(associations=associations, announce_to=informed.settings())
    with site.delivering({"pacs": destination}):
        site.until_announcements(SENT)
        site.retry(site.rows("pacs")[0].id)
        until(lambda: len(peer.received) == len(images) + 1, what="the result sent again")
        site.until_state("pacs", SENT)
    ((_, content),) = informed.told
    assert sorted(uid for of_series in instances(content).values() for uid in of_series) == sorted(uids)
    assert [row.state for row in site.announcements()] == [SENT], "what is sent again is not announced again"


def test_a_busy_peer_is_told_after_the_back_off_under_the_same_uid(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path]
) -> None:
    peer, informed = scp(), ris(lambda count: 0x0213 if count == 1 else 0)
    site.results(images[:2], "pacs")
    with site.delivering({"pacs": peer.destination(announce_to=informed.settings())}):
        (row,) = site.until_announcements(WAITING)
        assert row.error_code == "PeerBusy"
        assert "0x0213 Resource limitation" in (row.error_message or "")
        site.clock.forward(timedelta(hours=2))
        (row,) = site.until_announcements(SENT)
    assert (row.attempt, row.error_code) == (2, None)
    assert [uid for uid, _ in informed.told] == [row.uid] * 2
    assert len(peer.received) == 2


def test_an_absent_peer_holds_up_no_delivery_and_is_told_when_it_is_there(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path]
) -> None:
    port = free_port()
    peer = scp()
    site.results(images[:2], "pacs")
    site.results(images[2:4], "pacs")
    absent = peer.destination(announce_to={"ae_title": "RIS", "host": "127.0.0.1", "port": port})
    with site.delivering({"pacs": absent}):
        site.until_state("pacs", SENT)
        first, second = site.until_announcements(WAITING, WAITING)
        assert {first.error_code, second.error_code} == {"PeerUnreachable"}
        informed = ris(port=port)
        site.clock.forward(timedelta(hours=2))
        site.until_announcements(SENT, SENT)
    assert sorted(informed.studies()) == ["1.2.3.1", "1.2.3.2"]


def test_a_peer_that_has_it_already_counts_as_told(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path]
) -> None:
    peer, informed = scp(), ris(lambda _count: 0x0111)
    site.results(images[:1], "pacs")
    with site.delivering({"pacs": peer.destination(announce_to=informed.settings())}):
        (row,) = site.until_announcements(SENT)
    assert row.error_code is None


def test_a_refusal_for_good_is_an_event_and_an_administrator_can_have_it_told_later(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    peer, informed = scp(), ris(lambda count: 0x0124 if count == 1 else 0)
    site.results(images[:1], "pacs")
    with site.delivering({"pacs": peer.destination(announce_to=informed.settings())}):
        (row,) = site.until_announcements(FAILED)
        (event,) = site.events("announcement.failed")
        assert event.job_id == row.job_id
        assert "0x0124 Not authorised" in event.message
        with site.catalog.begin() as session:
            announcements.retry(session, row.id, site.clock(), actor="tests")
        site.until_announcements(SENT)
    ds = dcmread(images[0], stop_before_pixels=True)
    for identifier in (str(ds.PatientID), str(ds.PatientName).split("^")[0]):
        assert identifier not in event.message + (row.error_message or "") + caplog.text


def test_a_peer_that_does_not_know_the_sop_class_is_told_of_by_name(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path]
) -> None:
    peer, informed = scp(), ris(offers=Verification)
    site.results(images[:1], "pacs")
    with site.delivering({"pacs": peer.destination(announce_to=informed.settings())}):
        (row,) = site.until_announcements(FAILED)
    assert "Instance Availability Notification" in (row.error_message or "")
    assert site.states("pacs") == [SENT]


def test_a_notification_that_breaks_the_association_does_not_hold_up_the_others(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path]
) -> None:
    port = free_port()
    peer = scp()
    for number in range(3):
        site.results(images[number : number + 1], "pacs")
    with site.delivering(
        {"pacs": peer.destination(announce_to={"ae_title": "RIS", "host": "127.0.0.1", "port": port})}
    ):
        site.until_announcements(WAITING, WAITING, WAITING)
        ris(lambda count: "abort" if count == 1 else 0, port=port)
        site.clock.forward(timedelta(hours=2))
        rows = site.until_announcements(SENT, SENT, WAITING)
    assert {row.attempt for row in rows} == {2}


def test_a_result_that_failed_holds_the_announcement_until_it_is_given_up(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path]
) -> None:
    uids = site.results(images[:3], "pacs")
    bad, peer, informed = uids[1], scp(), ris()
    peer.answer = lambda uid, _count: 0xC000 if uid == bad else 0
    with site.delivering({"pacs": peer.destination(announce_to=informed.settings())}):
        site.until_settled("pacs")
        failed = site.rows("pacs")[1]
        with site.catalog.begin() as session:
            assert not announcements.due(session, "pacs", site.clock(), committed=False)
            deliveries.retry(session, failed.id, site.clock(), actor="tests")
            deliveries.cancel(session, failed.id, site.clock(), actor="tests")
        site.until_announcements(SENT)
    ((_, content),) = informed.told
    assert [uid for of_series in instances(content).values() for uid in of_series] == [uids[0], uids[2]]


@pytest.mark.parametrize("told", [False, True], ids=["before it was told", "before the answer was heard"])
def test_a_sender_killed_between_delivery_and_announcement_loses_nothing(
    site: DeliverySite, scp: ScpFactory, ris: RisFactory, images: list[Path], tmp_path: Path, told: bool
) -> None:
    killed: list[int] = []

    def kill() -> None:
        if not killed:
            assert process.pid is not None
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

    def answer(count: int) -> int:
        kill()
        return 0 if count == 1 else 0x0111

    def on_association(_event: evt.Event) -> None:
        if not told:
            kill()

    peer, informed = scp(), ris(answer, on_association=on_association)
    uids = site.results(images[:2], "pacs")
    destinations = {"pacs": peer.destination(announce_to=informed.settings())}
    process = multiprocessing.get_context("spawn").Process(
        target=deliver, args=(tmp_path, site.clock(), destinations), daemon=True
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert site.states("pacs") == [SENT] * 2
    assert [row.state for row in site.announcements()] == [DeliveryState.SENDING]
    assert len(informed.told) == told
    site.clock.forward(announcements.LEASE + timedelta(seconds=1))
    with site.delivering(destinations):
        (row,) = site.until_announcements(SENT)
    assert row.attempt == 2
    assert {uid for uid, _ in informed.told} == {row.uid}, "the same notification, not another one"
    assert len(informed.told) == 1 + told
    assert all(
        [uid for of_series in instances(content).values() for uid in of_series] == uids for _, content in informed.told
    )
    assert len(peer.received) == 2, "nothing is delivered again"
