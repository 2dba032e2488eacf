"""Storage commitment as its user: asked for, reported on either association, failed, forgotten, asked again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from delivery_site import QUICK, DeliverySite, ScpFactory, TellingScp
from peers import Modality, OrthancFactory, free_port, until
from whyray.catalog import DeliveryState
from whyray.config import DicomDestination, Listener
from whyray.delivery import commitment_handlers
from whyray.demo.archive import ArchivePacs
from whyray.intake import start_listener


@pytest.fixture
def listener(site: DeliverySite) -> Iterator[int]:
    """The port of the intake's own listener, with the handlers that delivery gives it."""
    settings = Listener(ae_title="WHYRAY", address="127.0.0.1", port=free_port(), accept_unknown_peers=True)
    running = start_listener(
        settings,
        site.catalog,
        site.storage,
        is_own=lambda _header: False,
        handlers=commitment_handlers(site.catalog),
    )
    yield running.port
    running.stop()


def report(request: Dataset, *failed: str) -> tuple[int, Dataset]:
    """The event type and information that answer a request, with the failures named."""
    said = Dataset()
    said.TransactionUID = request.TransactionUID
    said.ReferencedSOPSequence = []
    said.FailedSOPSequence = []
    for reference in request.ReferencedSOPSequence:
        if reference.ReferencedSOPInstanceUID in failed:
            reference.FailureReason = 0x0112
            said.FailedSOPSequence.append(reference)
        else:
            said.ReferencedSOPSequence.append(reference)
    return (2 if failed else 1), said


def tell(port: int, request: Dataset, *failed: str) -> int:
    """Report on a new association to the listener, as provider, as most archives do; gives the answer's status."""
    ae = AE("PACS")
    ae.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    link = ae.associate("127.0.0.1", port, ae_title="WHYRAY", ext_neg=[role])
    assert link.is_established
    kind, said = report(request, *failed)
    answer, _ = link.send_n_event_report(said, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    link.release()
    return int(answer.Status)


def asked(peer: TellingScp, times: int = 1) -> Dataset:
    until(lambda: len(peer.commitments) >= times, what="the request for commitment")
    return peer.commitments[times - 1]


def test_orthanc_commits_to_what_it_was_sent(
    site: DeliverySite, orthanc: OrthancFactory, listener: int, images: list[Path]
) -> None:
    pacs = orthanc(modalities={"whyray": Modality("WHYRAY", "127.0.0.1", listener)})
    uids = site.results(images, "pacs")
    destination = DicomDestination(
        ae_title=pacs.ae_title, host=pacs.host, port=pacs.dicom_port, timeouts=QUICK, storage_commitment=True
    )
    with site.delivering({"pacs": destination}):
        site.until_state("pacs", DeliveryState.COMMITTED)
    assert set(pacs.instances()) == set(uids)


def test_the_demos_archive_commits_to_what_it_was_sent(
    site: DeliverySite, listener: int, images: list[Path], tmp_path: Path
) -> None:
    pacs = ArchivePacs(tmp_path / "pacs", dicom_port=free_port(), whyray=Modality("WHYRAY", "127.0.0.1", listener))
    pacs.start()
    site.results(images, "pacs")
    destination = DicomDestination(
        ae_title=pacs.ae_title, host=pacs.host, port=pacs.dicom_port, timeouts=QUICK, storage_commitment=True
    )
    with site.delivering({"pacs": destination}):
        site.until_state("pacs", DeliveryState.COMMITTED)
    pacs.stop()


def test_orthanc_that_lost_an_object_gets_it_again(
    site: DeliverySite, orthanc: OrthancFactory, listener: int, images: list[Path]
) -> None:
    pacs = orthanc(modalities={"whyray": Modality("WHYRAY", "127.0.0.1", listener)})
    uids = site.results(images[:3], "pacs")
    plain = DicomDestination(ae_title=pacs.ae_title, host=pacs.host, port=pacs.dicom_port, timeouts=QUICK)
    with site.delivering({"pacs": plain}):
        site.until_state("pacs", DeliveryState.SENT)
    pacs.delete(f"/instances/{pacs.instances()[uids[1]]}")
    with site.delivering({"pacs": plain.model_copy(update={"storage_commitment": True})}):
        until(lambda: site.states("pacs")[1] is DeliveryState.WAITING)
        assert site.rows("pacs")[1].error_code == "CommitmentFailed"
        site.clock.forward(timedelta(minutes=2))
        site.until_state("pacs", DeliveryState.COMMITTED)
    assert set(pacs.instances()) == set(uids)
    assert [row.attempt for row in site.rows("pacs")] == [1, 2, 1]


def test_a_report_on_the_association_that_asked_is_entered(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp(commitment=True)

    def on_action(event: evt.Event) -> tuple[int, None]:
        kind, said = report(event.action_information)
        link = event.assoc

        def tell_later() -> None:
            link.send_n_event_report(said, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)

        threading.Timer(0.2, tell_later).start()
        return 0x0000, None

    peer.act = on_action
    site.results(images[:4], "pacs")
    with site.delivering({"pacs": peer.destination(storage_commitment=True)}):
        site.until_state("pacs", DeliveryState.COMMITTED)
    assert peer.associations == 1


def test_a_failed_commitment_is_shown_sent_again_and_asked_for_again(
    site: DeliverySite, scp: ScpFactory, listener: int, images: list[Path]
) -> None:
    peer = scp(commitment=True)
    uids = site.results(images[:3], "pacs")
    with site.delivering({"pacs": peer.destination(storage_commitment=True)}):
        request = asked(peer)
        assert [reference.ReferencedSOPInstanceUID for reference in request.ReferencedSOPSequence] == uids
        assert tell(listener, request, uids[0]) == 0x0000
        until(lambda: site.states("pacs")[0] is DeliveryState.WAITING)
        assert site.states("pacs")[1:] == [DeliveryState.COMMITTED] * 2
        assert "0x0112" in (site.rows("pacs")[0].error_message or "")
        site.clock.forward(timedelta(minutes=2))
        again = asked(peer, 2)
        assert [reference.ReferencedSOPInstanceUID for reference in again.ReferencedSOPSequence] == [uids[0]]
        assert tell(listener, again) == 0x0000
        site.until_state("pacs", DeliveryState.COMMITTED)
    assert peer.received.count(uids[0]) == 2
    assert len(site.events("delivery.uncommitted")) == 1


def test_an_object_never_committed_to_fails_in_the_end(
    site: DeliverySite, scp: ScpFactory, listener: int, images: list[Path]
) -> None:
    peer = scp(commitment=True)
    (uid,) = site.results(images[:1], "pacs")
    with site.delivering({"pacs": peer.destination(storage_commitment=True)}):
        for times in range(1, 6):
            assert tell(listener, asked(peer, times), uid) == 0x0000
            site.until_settled("pacs")
            site.clock.forward(timedelta(hours=2))
        (row,) = site.until_state("pacs", DeliveryState.FAILED)
    assert "never committed" in (row.error_message or "")
    assert peer.received == [uid] * 5


def test_a_request_that_is_not_reported_on_in_time_is_made_again(
    site: DeliverySite, scp: ScpFactory, listener: int, images: list[Path]
) -> None:
    peer = scp(commitment=True)
    site.results(images[:2], "pacs")
    within = timedelta(minutes=10)
    with site.delivering({"pacs": peer.destination(storage_commitment=True, commitment_within=within)}):
        first = asked(peer)
        site.clock.forward(within + timedelta(seconds=1))
        second = asked(peer, 2)
        assert second.TransactionUID != first.TransactionUID
        assert UID(second.TransactionUID).is_valid
        assert tell(listener, first) == 0x0000, "a late report is received, and moves nothing"
        assert site.states("pacs") == [DeliveryState.SENT] * 2
        tell(listener, second)
        site.until_state("pacs", DeliveryState.COMMITTED)
    assert len(peer.received) == 2, "nothing was sent again"


def test_a_peer_without_storage_commitment_keeps_what_was_sent_and_the_operator_is_told(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp(commitment=False)
    site.results(images[:2], "pacs")
    with site.delivering({"pacs": peer.destination(storage_commitment=True)}):
        until(lambda: site.events("delivery.commitment_refused"))
        assert site.states("pacs") == [DeliveryState.SENT] * 2
    (event,) = site.events("delivery.commitment_refused")
    assert "does not offer" in event.message


def test_a_report_that_can_not_be_read_is_answered_as_invalid(site: DeliverySite, listener: int) -> None:
    ae = AE("PACS")
    ae.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    link = ae.associate("127.0.0.1", listener, ae_title="WHYRAY", ext_neg=[role])
    broken = Dataset()
    broken.SOPClassUID = "1.2.3"
    answer, _ = link.send_n_event_report(broken, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    link.release()
    assert answer.Status == 0x0115
