"""How much there should be of a study, asked of archives that answer C-FIND in their own ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from whyray.base.errors import PeerRefused, PeerUnreachable
from whyray.intake.expected import Peer, expected_instances

STUDY, ONE, OTHER = "1.2.3", "1.2.3.1", "1.2.3.2"
Answer = tuple[int, Dataset | None]


def study(count: object = 7, uid: str | None = STUDY) -> Dataset:
    made = Dataset()
    if uid is not None:
        made.StudyInstanceUID = uid
    if count is not None:
        made.NumberOfStudyRelatedInstances = count
    return made


def series(uid: str, count: object, of: str | None = STUDY) -> Dataset:
    made = study(None, of)
    made.SeriesInstanceUID = uid
    if count is not None:
        made.NumberOfSeriesRelatedInstances = count
    return made


@pytest.fixture
def archive() -> Iterator[Callable[..., Peer]]:
    """A factory of archives that give these answers to every C-FIND."""
    servers = []

    def start(*answers: Answer) -> Peer:
        ae = AE(ae_title="ARCHIVE")
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers = [(evt.EVT_C_FIND, lambda _: iter(answers))]
        server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        servers.append(server)
        return Peer("WHYRAY", "ARCHIVE", "127.0.0.1", server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([study()], 7),
        ([study(uid=None)], 7),
        ([study(9, "1.2.4"), study(), study(8, "1.2.5")], 7),
        ([study(9, "1.2.4")], None),
        ([study(None)], None),
        ([study("")], None),
        ([study(0)], None),
        ([], None),
    ],
)
def test_the_count_of_the_study_that_was_asked_for_is_the_one_that_counts(
    archive: Callable[..., Peer], answers: list[Dataset], expected: int | None
) -> None:
    peer = archive(*((0xFF00, answer) for answer in answers))
    assert expected_instances(peer, STUDY, "study") == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([series(ONE, 3), series(OTHER, 4), series("1.2.3.3", 9)], 7),
        ([series(ONE, 3, None), series(OTHER, 4, None)], 7),
        ([series(ONE, 3)], None),
        ([series(ONE, 3), series(OTHER, None)], None),
        ([series(ONE, 3), series(OTHER, 4, "1.2.4")], None),
    ],
)
def test_series_count_together_where_each_of_them_is_known(
    archive: Callable[..., Peer], answers: list[Dataset], expected: int | None
) -> None:
    peer = archive(*((0xFF01, answer) for answer in answers))
    assert expected_instances(peer, STUDY, "series", (ONE, OTHER)) == expected


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0xFE00])
def test_a_query_that_fails_is_no_answer(archive: Callable[..., Peer], status: int) -> None:
    peer = archive((0xFF00, study()), (status, None))
    with pytest.raises(PeerRefused, match=f"0x{status:04X}"):
        expected_instances(peer, STUDY, "study")


def test_an_archive_that_does_not_offer_c_find_or_is_away_is_told_apart() -> None:
    ae = AE(ae_title="ARCHIVE")
    ae.add_supported_context("1.2.840.10008.1.1")
    server = ae.start_server(("127.0.0.1", 0), block=False)
    peer = Peer("WHYRAY", "ARCHIVE", "127.0.0.1", server.server_address[1])
    with pytest.raises((PeerRefused, PeerUnreachable)):
        expected_instances(peer, STUDY, "study")
    server.shutdown()
    with pytest.raises(PeerUnreachable):
        expected_instances(peer, STUDY, "study")
