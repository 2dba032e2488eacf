"""Deliveries to real and to unruly peers: what each status leads to, and who holds up whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ComputedRadiographyImageStorage
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from certificates import Authority
from delivery.stalling_proxy import StallingProxy
from delivery_site import PACE, PATIENT, QUICK, DeliverySite, ScpFactory
from peers import OrthancFactory, StoreScp, StoreScpFactory, free_port, until
from synthetic import radiograph, write
from whyray.base.errors import PeerBusy, PeerUnreachable, StorageUnavailable
from whyray.catalog import DeliveryState, deliveries
from whyray.config import CallerTls, DicomDestination
from whyray.delivery import DeliveryService, Pace
from whyray.delivery.association import LARGEST_PDU


def dead() -> DicomDestination:
    return DicomDestination(ae_title="DEAD", host="127.0.0.1", port=free_port(), timeouts=QUICK, retry=PATIENT)


def patient(peer: StoreScp) -> DicomDestination:
    """A peer that is waited for as long as it takes."""
    return DicomDestination(ae_title=peer.ae_title, host=peer.host, port=peer.port, timeouts=QUICK, retry=PATIENT)


def test_orthanc_and_storescp_hold_the_results_byte_for_byte_in_content(
    site: DeliverySite, orthanc: OrthancFactory, storescp: StoreScpFactory, images: list[Path]
) -> None:
    pacs, other = orthanc(), storescp()
    uids = site.results(images, "pacs", "other")
    destinations = {
        "pacs": DicomDestination(ae_title=pacs.ae_title, host=pacs.host, port=pacs.dicom_port, timeouts=QUICK),
        "other": DicomDestination(ae_title=other.ae_title, host=other.host, port=other.port, timeouts=QUICK),
    }
    with site.delivering(destinations):
        sent = site.until_state("pacs", DeliveryState.SENT) + site.until_state("other", DeliveryState.SENT)
    assert {row.status for row in sent} == {0}
    assert {row.status_text for row in sent} == {"0x0000 Success"}
    assert set(pacs.instances()) == set(uids) == set(other.files())
    for path in images:
        original = dcmread(path)
        assert dcmread(other.files()[str(original.SOPInstanceUID)]) == original


def test_a_dead_destination_does_not_hold_up_a_living_one(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    living = scp()
    site.results(images, "dead", "living")
    with site.delivering({"dead": dead(), "living": living.destination()}):
        site.until_state("living", DeliveryState.SENT)
        waiting = site.until_state("dead", DeliveryState.WAITING)
    assert {row.error_code for row in waiting} == {"PeerUnreachable"}
    assert {row.attempt for row in waiting} == {1}
    assert len({row.not_before for row in waiting}) == 1, "what failed together comes back together"


def test_a_destination_that_comes_back_gets_what_waited_after_the_back_off(
    site: DeliverySite, storescp: StoreScpFactory, images: list[Path]
) -> None:
    peer = storescp()
    peer.stop()
    uids = site.results(images[:3], "pacs")
    with site.delivering({"pacs": patient(peer)}):
        site.until_state("pacs", DeliveryState.WAITING)
        peer.start()
        site.clock.forward(timedelta(hours=2))
        rows = site.until_state("pacs", DeliveryState.SENT)
    assert {row.attempt for row in rows} == {2}
    assert {row.error_code for row in rows} == {None}
    assert set(peer.files()) == set(uids)


def test_a_destination_that_is_back_gets_all_that_waited_for_it_with_the_first_that_it_takes(
    site: DeliverySite, storescp: StoreScpFactory, images: list[Path]
) -> None:
    """After a night each had a quarter of an hour to wait, though what was made then was sent at once."""
    peer = storescp()
    peer.stop()
    waited = site.results(images[:3], "pacs")
    with site.delivering({"pacs": patient(peer)}):
        site.until_state("pacs", DeliveryState.WAITING)
        peer.start()
        new = site.results(images[3:4], "pacs")
        rows = site.until_state("pacs", DeliveryState.SENT)
    assert [row.attempt for row in rows] == [2, 2, 2, 1]
    assert set(peer.files()) == {*waited, *new}


def test_what_a_peer_itself_could_not_take_keeps_its_wait_when_the_peer_is_back(
    site: DeliverySite, images: list[Path]
) -> None:
    """Its attempts are counted: it must not fail of those that others made."""
    site.results(images[:4], "pacs")
    site.results(images[4:5], "other")
    wait, now = timedelta(hours=1), site.clock()
    with site.catalog.begin() as session:
        claimed = deliveries.claim_batch(session, "pacs", "sender", now)
        (other,) = deliveries.claim_batch(session, "other", "sender", now)
        for row, error, status in [
            (claimed[0], PeerBusy("out of resources"), 0xA700),
            (claimed[1], PeerBusy("local limit exceeded"), None),
            (claimed[2], PeerUnreachable("nothing listens there"), None),
            (claimed[3], StorageUnavailable("storage is away"), None),
            (other, PeerUnreachable("nothing listens there"), None),
        ]:
            deliveries.stop(session, row.id, "sender", error, now, status=status, retry_after=wait)
    with site.catalog.begin() as session:
        assert deliveries.wake_unreached(session, "pacs", now) == 2
    waiting, queued = DeliveryState.WAITING, DeliveryState.QUEUED
    assert site.states("pacs") == [waiting, queued, queued, waiting]
    assert site.states("other") == [waiting]


def test_an_object_that_breaks_the_association_does_not_hold_up_those_behind_it(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    poison = str(dcmread(images[0], stop_before_pixels=True).SOPInstanceUID)
    peer = scp(lambda uid, _count: "abort" if uid == poison else 0)
    site.results(images, "pacs")
    with site.delivering({"pacs": peer.destination()}):
        rows = site.until_settled("pacs")
    assert [row.state for row in rows] == [DeliveryState.WAITING] + [DeliveryState.SENT] * 7
    assert rows[0].error_code == "PeerUnreachable"
    assert {row.attempt for row in rows} == {1}, "who was handed back has lost no attempt"


def test_a_peer_that_breaks_every_association_is_left_alone_until_the_back_off_is_over(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp(lambda _uid, _count: "abort")
    site.results(images, "pacs")
    with site.delivering({"pacs": peer.destination()}):
        site.until_state("pacs", DeliveryState.WAITING)
    assert peer.associations == 3


@pytest.mark.parametrize("by", ["plain", "tls"])
def test_a_peer_that_stops_reading_within_an_object_holds_its_queue_no_longer_than_a_time_limit(
    by: str, site: DeliverySite, scp: ScpFactory, tmp_path: Path
) -> None:
    """A hung PACS whose machine runs on held all that was to go there for good, and nothing told of it."""
    hospital = Authority(tmp_path / "hospital", "hospital")
    peer = scp(classes=(ComputedRadiographyImageStorage,), shows=hospital.signs("pacs") if by == "tls" else None)
    tls = CallerTls(authorities=hospital.file) if by == "tls" else None
    # more than the system keeps for a connection, so that who sends has to wait
    paths = write([radiograph(np.zeros((3000, 4000), np.uint16))], tmp_path / "large")
    site.results(paths, "pacs")
    with StallingProxy(peer.port, after=1 << 20) as proxy:
        short = QUICK.model_copy(update={"dimse": timedelta(seconds=1), "acse": timedelta(seconds=1)})
        with site.delivering({"pacs": peer.destination(port=proxy.port, timeouts=short, tls=tls)}):
            (row,) = site.until_state("pacs", DeliveryState.WAITING)
            assert row.error_code == "PeerUnreachable"
            proxy.stalls = False
            site.clock.forward(timedelta(hours=2))
            site.until_state("pacs", DeliveryState.SENT)


def test_a_peer_without_a_limit_is_sent_a_large_object_in_parts(
    site: DeliverySite, scp: ScpFactory, tmp_path: Path
) -> None:
    """The time limit is for each PDU: an object as one would have to be through within it, over the slowest line."""
    peer = scp(classes=(ComputedRadiographyImageStorage,), largest_pdu=0)
    site.results(write([radiograph(np.zeros((3000, 4000), np.uint16))], tmp_path / "large"), "pacs")
    with site.delivering({"pacs": peer.destination()}):
        site.until_state("pacs", DeliveryState.SENT)
    assert 0 < peer.largest_pdu <= LARGEST_PDU + 6


def test_an_entry_that_the_database_ended_for_another_transaction_is_made_again_and_nothing_is_sent_again(
    site: DeliverySite, scp: ScpFactory, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadlock of PostgreSQL had the association aborted, and all that the peer had taken was sent once more."""
    tries: list[str] = []

    class Lost(Exception):  # noqa: N818
        sqlstate = "40P01"

    def sent(session: Session, delivery_id: str, *details: object, **more: object) -> None:
        tries.append(delivery_id)
        really(session, delivery_id, *details, **more)  # type: ignore[arg-type]
        if len(tries) == 2:
            raise OperationalError("UPDATE deliveries", None, Lost("deadlock detected"))

    really = deliveries.sent
    monkeypatch.setattr(deliveries, "sent", sent)
    peer = scp()
    uids = site.results(images, "pacs")
    with site.delivering({"pacs": peer.destination()}):
        rows = site.until_settled("pacs")
    assert {(row.state, row.attempt) for row in rows} == {(DeliveryState.SENT, 1)}
    assert peer.associations == 1
    assert sorted(peer.received) == sorted(uids)
    assert len(tries) > len(uids)


def test_a_lease_left_by_a_dead_sender_is_taken_over_and_nothing_arrives_twice(
    site: DeliverySite, storescp: StoreScpFactory, images: list[Path]
) -> None:
    peer = storescp()
    uids = site.results(images, "pacs")
    with site.catalog.begin() as session:
        claimed = deliveries.claim_batch(session, "pacs", "a sender that dies", site.clock())
        assert len(claimed) == 8
    destination = DicomDestination(ae_title=peer.ae_title, host=peer.host, port=peer.port, timeouts=QUICK)
    with site.delivering({"pacs": destination}):
        site.clock.forward(deliveries.LEASE + timedelta(seconds=1))
        rows = site.until_state("pacs", DeliveryState.SENT)
    assert {row.attempt for row in rows} == {2}
    assert sorted(peer.files()) == sorted(uids)
    with site.catalog.begin() as session:
        deliveries.sent(session, rows[0].id, "a sender that dies", 0xB000, "late", site.clock())
    assert site.rows("pacs")[0].status == 0, "who lost the lease changes nothing any more"


def test_a_batch_that_takes_longer_than_its_lease_is_not_taken_over(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    def answer(_uid: str, count: int) -> int:
        if count == 1:
            # nearly a whole lease goes by, then a renewal, then nearly another
            for _ in range(3):
                before = site.rows("pacs")[1].lease_until
                site.clock.forward(deliveries.LEASE * 0.9)
                until(lambda: site.rows("pacs")[1].lease_until != before)  # noqa: B023
        return 0

    peer = scp(answer)
    site.results(images, "pacs")
    slow = replace(PACE, renew=0.01)
    with site.delivering({"pacs": peer.destination(associations=3)}, pace=slow):
        rows = site.until_state("pacs", DeliveryState.SENT)
    assert {row.attempt for row in rows} == {1}
    assert len(peer.received) == len(set(peer.received)) == 8


def test_who_is_told_of_new_results_does_not_wait_for_the_next_look(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp(lambda _uid, _count: 0)
    with site.delivering({"pacs": peer.destination()}, pace=Pace(look=600.0)) as service:
        until(lambda: bool(service._workers), what="the destination's worker")
        for image in images[:2]:
            site.results([image], "pacs")
            service.look_now()
            site.until_state("pacs", DeliveryState.SENT)


def test_stopping_finishes_the_object_under_way_and_hands_the_rest_back(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    stops: list[DeliveryService] = []

    def answer(_uid: str, count: int) -> int:
        if count == 2:
            for worker in stops[0]._workers:
                worker.stop.set()
        return 0

    peer = scp(answer)
    site.results(images, "pacs")
    service = DeliveryService(site.catalog, site.storage, {"pacs": peer.destination()})
    stops.append(service)
    service.poll()
    for worker in service._workers:
        worker.join()
    rows = site.rows("pacs")
    assert [row.state for row in rows] == [DeliveryState.SENT] * 2 + [DeliveryState.QUEUED] * 6
    assert [row.attempt for row in rows] == [1, 1, 0, 0, 0, 0, 0, 0]
    assert {row.lease_owner for row in rows} == {None}


def test_settings_changed_while_running_are_obeyed_and_an_unknown_destination_is_named_once(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp()
    site.results(images[:2], "moved", "forgotten")
    with site.delivering({"moved": dead()}) as service:
        site.until_state("moved", DeliveryState.WAITING)
        service.reload({"moved": peer.destination()})
        site.clock.forward(timedelta(hours=2))
        site.until_state("moved", DeliveryState.SENT)
        until(lambda: site.events("delivery.unknown_destination"))
    (event,) = site.events("delivery.unknown_destination")
    assert "forgotten" in event.message
    assert site.states("forgotten") == [DeliveryState.QUEUED] * 2


def test_a_result_whose_file_is_gone_fails_by_name_and_the_others_are_sent(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp()
    site.results(images[:3], "pacs")
    with site.catalog.read() as session:
        lost = deliveries.get(session, site.rows("pacs")[1].id)
        site.storage.delete(lost.result.key)
    with site.delivering({"pacs": peer.destination()}):
        rows = site.until_settled("pacs")
    assert [row.state for row in rows] == [DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.SENT]
    assert rows[1].error_code == "NotFound"
