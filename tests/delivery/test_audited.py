"""What goes out is audited: its beginning, and what became of it."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread

from audit.trail import in_short, trail
from delivery_site import DeliverySite, ScpFactory
from peers import until


def test_a_batch_has_a_beginning_and_an_end_and_what_was_not_taken_a_message_of_its_own(
    site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    header = dcmread(images[1], stop_before_pixels=True)
    peer = scp(lambda which, _count: 0xA900 if which == header.SOPInstanceUID else 0)
    site.results(images[:3], "pacs")
    with site.delivering({"pacs": peer.destination()}):
        site.until_settled("pacs")
        until(lambda: len(trail(site.catalog)) >= 3)
    assert in_short(trail(site.catalog)) == [
        ("transfer.begin", 0, "whyray"),
        ("transfer", 0, "whyray"),
        ("transfer", 4, "whyray"),
    ]
    begun, sent, failed = trail(site.catalog)
    assert {event.patient for event in (begun, sent, failed)} == {header.PatientID}
    assert [event.studies[0].instances for event in (sent, failed)] == [
        {header.SOPClassUID: 2},
        {header.SOPClassUID: 1},
    ]
    assert sent.participants[1].ae_title == "TELLING"


def test_a_destination_that_cannot_be_reached_was_sent_nothing(site: DeliverySite, images: list[Path]) -> None:
    from delivery.test_service import dead
    from whyray.catalog import DeliveryState

    site.results(images[:1], "pacs")
    with site.delivering({"pacs": dead()}):
        site.until_state("pacs", DeliveryState.WAITING)
    assert trail(site.catalog) == []
