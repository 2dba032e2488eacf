"""Who is turned away is told once a minute, and hides nobody else."""

from __future__ import annotations

from whyray.catalog import Catalog, events
from whyray.intake.catalog_batch_writer import CatalogBatchWriter
from whyray.intake.receiver import InstanceReceiver
from whyray.storage import FolderStorage


def test_a_sender_that_is_turned_away_hides_no_other_of_its_name_and_no_other_reason(
    catalog: Catalog, storage: FolderStorage
) -> None:
    """A robot with a wrong token hid the modality that had none: over DICOMweb nobody has a name."""
    receiver = InstanceReceiver(storage, catalog, CatalogBatchWriter(catalog), lambda _: False)
    rejections = [
        ("somebody", "10.0.0.1", "a bearer token of listener.dicomweb is needed"),
        ("somebody", "10.0.0.2", "a bearer token of listener.dicomweb is needed"),
        ("somebody", "10.0.0.2", "the token ct3 has not the scope stow"),
        ("STORESCU", "10.0.0.3", "7 associations are open, as many as listener.limits allows"),
        ("STORESCU", "10.0.0.4", "listener.peers does not name it"),
    ]
    for _ in range(3):
        for rejection in rejections:
            receiver.rejected(*rejection)
    receiver.rejected("STORESCU", "10.0.0.3", "8 associations are open, as many as listener.limits allows")
    with catalog.read() as session:
        messages = [event.message for event in events.recent(session, limit=100)]
    assert len(messages) == len(rejections)
    assert {words for _, _, words in rejections} == {message.partition("rejected: ")[2] for message in messages}
