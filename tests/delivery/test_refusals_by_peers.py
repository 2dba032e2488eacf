"""What a peer refuses is told in its own words, and tried again only where that may pass."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from delivery_site import DeliverySite, ScpFactory
from peers import until
from whyray.catalog import DeliveryState
from whyray.config import Retry
from whyray.delivery import Caller, association
from whyray.delivery.association import context


@pytest.mark.parametrize(
    ("status", "state", "code"),
    [
        (0x0000, DeliveryState.SENT, None),
        (0xB000, DeliveryState.SENT, None),
        (0xB006, DeliveryState.SENT, None),
        (0xB007, DeliveryState.SENT, None),
        (0x0111, DeliveryState.SENT, None),
        (0xA700, DeliveryState.WAITING, "PeerBusy"),
        (0xA7AB, DeliveryState.WAITING, "PeerBusy"),
        (0x0110, DeliveryState.WAITING, "PeerBusy"),
        (0xA900, DeliveryState.FAILED, "PeerRefused"),
        (0xC000, DeliveryState.FAILED, "PeerRefused"),
        (0xCABC, DeliveryState.FAILED, "PeerRefused"),
        (0x0122, DeliveryState.FAILED, "PeerRefused"),
        (0x0124, DeliveryState.FAILED, "PeerRefused"),
        (0xD123, DeliveryState.FAILED, "PeerRefused"),
    ],
)
def test_each_status_is_shown_as_it_came_and_obeyed_by_its_class(
    site: DeliverySite, scp: ScpFactory, images: list[Path], status: int, state: DeliveryState, code: str | None
) -> None:
    odd = images[1]
    uid = str(dcmread(odd, stop_before_pixels=True).SOPInstanceUID)
    peer = scp(lambda which, _count: status if which == uid else 0)
    site.results(images[:3], "pacs")
    with site.delivering({"pacs": peer.destination()}):
        rows = site.until_settled("pacs")
    assert [row.state for row in rows] == [DeliveryState.SENT, state, DeliveryState.SENT]
    assert [row.status for row in rows] == [0, status, 0]
    assert rows[1].error_code == code
    assert f"0x{status:04X}" in (rows[1].status_text or rows[1].error_message or "")
    assert peer.associations == 1, "one association for the batch"
    assert len(site.events("delivery.failed")) == (state is DeliveryState.FAILED)


def test_a_busy_peer_is_tried_to_the_last_attempt_and_then_the_delivery_has_failed(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp(lambda _uid, _count: 0xA700)
    site.results(images[:1], "pacs")
    policy = Retry(attempts=3, delay=timedelta(minutes=1), ceiling=timedelta(hours=1))
    with site.delivering({"pacs": peer.destination(retry=policy)}):
        for attempt in (1, 2):
            until(lambda: [row.attempt for row in site.rows("pacs")] == [attempt])  # noqa: B023
            site.until_state("pacs", DeliveryState.WAITING)
            site.clock.forward(timedelta(minutes=30))
        (row,) = site.until_state("pacs", DeliveryState.FAILED)
        assert row.attempt == 3
        assert len(peer.received) == 3
        peer.answer = lambda _uid, _count: 0
        site.retry(row.id)
        (row,) = site.until_state("pacs", DeliveryState.SENT)
    assert row.attempt == 1


def test_a_patient_quoted_in_a_peers_comment_reaches_neither_catalog_nor_log(
    site: DeliverySite, scp: ScpFactory, images: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    ds = dcmread(images[0], stop_before_pixels=True)
    family = str(ds.PatientName).split("^")[0]
    answer = Dataset()
    answer.Status, answer.ErrorComment = 0xC001, f"conflict: {family.upper()} has ID {ds.PatientID}"
    peer = scp(lambda _uid, _count: answer)
    site.results(images[:1], "pacs")
    with site.delivering({"pacs": peer.destination()}):
        (row,) = site.until_state("pacs", DeliveryState.FAILED)
    assert row.error_message is not None
    assert "conflict: [removed] has ID [removed]" in row.error_message
    kept = row.error_message + caplog.text + " ".join(event.message for event in site.events("delivery.failed"))
    assert family.upper() not in kept
    assert str(ds.PatientID) not in kept


def test_a_sop_class_that_is_not_accepted_is_refused_by_name_and_the_others_are_sent(
    site: DeliverySite, scp: ScpFactory, images: list[Path], tmp_path: Path
) -> None:
    other = dcmread(images[0])
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = MRImageStorage
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    other.save_as(tmp_path / "mr.dcm")
    peer = scp(classes=(CTImageStorage,))
    site.results([tmp_path / "mr.dcm", *images[:2]], "pacs")
    with site.delivering({"pacs": peer.destination()}):
        rows = site.until_settled("pacs")
    assert [row.state for row in rows] == [DeliveryState.FAILED, DeliveryState.SENT, DeliveryState.SENT]
    assert rows[0].error_code == "PeerRefused"
    assert "MR Image Storage (SOP Class not supported)" in (rows[0].error_message or "")


def test_no_context_accepted_at_all_is_refused_at_once_by_name(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp(classes=(MRImageStorage,))
    site.results(images, "pacs")
    with site.delivering({"pacs": peer.destination()}):
        rows = site.until_state("pacs", DeliveryState.FAILED)
    assert {row.attempt for row in rows} == {1}
    assert peer.received == []
    assert all("CT Image Storage (SOP Class not supported)" in (row.error_message or "") for row in rows)


@pytest.mark.parametrize(
    ("refusing", "words"),
    [
        ({"require_called": True}, "called AE title not recognised"),
        ({"allow_calling": ("SOMEBODY",)}, "calling AE title not recognised"),
    ],
)
def test_an_association_rejected_for_good_fails_at_once_with_the_peers_reason(
    site: DeliverySite, scp: ScpFactory, images: list[Path], refusing: dict[str, object], words: str
) -> None:
    peer = scp(**refusing)
    site.results(images[:2], "pacs")
    with site.delivering({"pacs": peer.destination(ae_title="WRONG")}):
        rows = site.until_state("pacs", DeliveryState.FAILED)
    assert all(words in (row.error_message or "") for row in rows)


def test_an_association_rejected_for_now_is_tried_again(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp(most=1)
    site.results(images[:2], "pacs")
    proposed = [context(CTImageStorage, ExplicitVRLittleEndian)]
    with association(peer.destination(), Caller("FIRST"), proposed), site.delivering({"pacs": peer.destination()}):
        rows = site.until_state("pacs", DeliveryState.WAITING)
    assert {row.error_code for row in rows} == {"PeerBusy"}
    assert all("local limit exceeded" in (row.error_message or "") for row in rows)
