"""`send_files` and `echo`: an outcome for every file, whatever the peer does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from delivery_site import QUICK, ScpFactory
from peers import OrthancServer, StoreScpFactory, free_port
from synthetic import compress
from whyray.base.errors import ConfigError, DecodeError, PeerRefused, PeerUnreachable, ResourceExhausted
from whyray.config import DicomDestination
from whyray.delivery import (
    STATUSES,
    Caller,
    Outgoing,
    Verdict,
    describe,
    echo,
    meaning,
    parse_peer,
    read_outgoing,
    send_files,
    summary,
)
from whyray.delivery.outgoing import unencodable


def test_a_folder_is_sent_with_progress_and_what_is_no_dicom_is_named(
    storescp: StoreScpFactory, images: list[Path], tmp_path: Path
) -> None:
    peer = storescp()
    folder = tmp_path / "to send" / "deep"
    folder.mkdir(parents=True)
    for path in images:
        shutil.copy(path, folder)
    (folder / "readme.txt").write_text("no DICOM")
    (folder / ".hidden").write_text("left alone")
    (folder / "truncated.dcm").write_bytes(images[0].read_bytes()[:140])
    seen: list[tuple[bool, int, int]] = []
    outcomes = send_files(
        [tmp_path / "to send"],
        parse_peer(f"{peer.ae_title}@{peer.host}:{peer.port}"),
        progress=lambda outcome, done, total: seen.append((outcome.stored, done, total)),
    )
    assert len(outcomes) == 10
    assert summary(outcomes) == {"0x0000 Success": 8, "DecodeError": 2}
    assert {outcome.file.path.name for outcome in outcomes if not outcome.stored} == {"readme.txt", "truncated.dcm"}
    assert [done for _, done, _ in seen] == list(range(1, 11))
    assert {total for _, _, total in seen} == {10}
    assert len(peer.files()) == 8


def test_every_file_has_an_outcome_when_the_peer_breaks_the_association(scp: ScpFactory, images: list[Path]) -> None:
    poison = str(dcmread(images[3], stop_before_pixels=True).SOPInstanceUID)
    peer = scp(lambda uid, _count: "abort" if uid == poison else 0)
    outcomes = send_files(images, peer.destination())
    assert [outcome.stored for outcome in outcomes] == [index != 3 for index in range(8)]
    assert isinstance(outcomes[3].error, PeerUnreachable)


def test_a_peer_that_breaks_everything_or_is_away_is_not_tried_for_each_file(
    scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp(lambda _uid, _count: "abort")
    assert summary(send_files(images, peer.destination())) == {"PeerUnreachable": 8}
    assert peer.associations == 3
    away = DicomDestination(ae_title="AWAY", host="127.0.0.1", port=free_port(), timeouts=QUICK)
    assert summary(send_files(images, away)) == {"PeerUnreachable": 8}


def test_files_are_converted_between_uncompressed_syntaxes_where_the_peer_needs_it(
    scp: ScpFactory, images: list[Path]
) -> None:
    peer = scp(syntaxes=(ImplicitVRLittleEndian,))
    assert all(outcome.stored for outcome in send_files(images[:2], peer.destination()))


def test_a_compressed_file_that_the_peer_does_not_take_is_refused_by_its_syntax(
    scp: ScpFactory, images: list[Path], tmp_path: Path
) -> None:
    small = compress(dcmread(images[0]), RLELossless)
    small.save_as(tmp_path / "rle.dcm")
    (refused,) = send_files([tmp_path / "rle.dcm"], scp().destination())
    assert isinstance(refused.error, PeerRefused)
    assert "RLE Lossless" in refused.error.message
    (stored,) = send_files([tmp_path / "rle.dcm"], scp(syntaxes=(RLELossless,)).destination())
    assert stored.stored


def test_echo_says_what_a_delivery_would_meet(
    scp: ScpFactory, shared_orthanc: OrthancServer, storescp: StoreScpFactory
) -> None:
    other = storescp()
    for title, port in ((shared_orthanc.ae_title, shared_orthanc.dicom_port), (other.ae_title, other.port)):
        assert echo(parse_peer(f"{title}@127.0.0.1:{port}"), Caller()).status == 0
    with pytest.raises(PeerRefused, match="calling AE title not recognised"):
        echo(scp(allow_calling=("SOMEBODY",)).destination(), Caller("NOBODY"))
    with pytest.raises(PeerUnreachable, match="can't be connected"):
        echo(parse_peer(f"AWAY@127.0.0.1:{free_port()}"), Caller())
    with pytest.raises(PeerUnreachable):
        echo(parse_peer("AWAY@no-such-host.invalid:104"), Caller())


@pytest.mark.parametrize("text", ["PACS", "PACS@", "@host:1", "PACS@host:port", "A_TITLE_TOO_LONG_FOR_DICOM@host:1"])
def test_a_peer_that_is_written_wrongly_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_peer(text)
    assert "AE@host:port" in refused.value.advice


def test_a_peer_without_a_port_has_104() -> None:
    assert (parse_peer("PACS@10.0.0.5").port, parse_peer("PACS@10.0.0.5:11112").port) == (104, 11112)


def test_a_path_that_does_not_exist_is_an_error_and_nothing_is_sent(images: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file or folder"):
        send_files([*images, tmp_path / "nothing"], parse_peer("PACS@127.0.0.1:1"))


def test_every_status_has_one_meaning_and_only_defined_ones_count_as_stored() -> None:
    stored = {code for code in range(0x10000) if meaning(code).verdict in (Verdict.STORED, Verdict.WARNING)}
    assert stored == {0x0000, 0x0001, 0x0107, 0x0111, 0x0116, *range(0xB000, 0xC000)}
    assert all(status.first <= status.last and status.words and status.source for status in STATUSES)
    assert describe(0xA7FF, "disk full") == "0xA7FF Refused: out of resources (disk full)"


def test_what_cannot_be_encoded_for_a_peer_is_refused_alone_and_a_shortage_may_pass(tmp_path: Path) -> None:
    file = Outgoing(tmp_path / "x.dcm", "1.2", "1.2.3", "1.2.840.10008.1.2.1")
    damaged = unencodable(KeyError("Doe^Jane"), file, "PACS@10.0.0.5:104")
    assert isinstance(damaged, DecodeError)
    assert "Doe" not in damaged.message
    for shortage in (OSError(28, "No space left on device"), MemoryError()):
        assert isinstance(unencodable(shortage, file, "PACS@10.0.0.5:104"), ResourceExhausted)


def test_a_file_that_is_gone_is_called_that(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"gone\.dcm can't be read: No such file or directory"):
        read_outgoing(tmp_path / "gone.dcm")
