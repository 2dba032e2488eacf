"""What a peer took compressed before is compressed while the association is opened, once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from delivery_site import QUICK
from peers import StoreScpFactory, free_port
from whyray.base.errors import PeerUnreachable
from whyray.config import DicomDestination
from whyray.delivery import Caller, Outcome, read_outgoing, store


class Noting:
    """Notes what is compressed."""

    def __init__(self) -> None:
        self.asked: list[tuple[Path, str]] = []

    def syntaxes(self, _: str, /) -> frozenset[str]:
        return frozenset({str(JPEGLSLossless), str(RLELossless)})

    def compressed(self, file: Path, syntax: str, /) -> bytes:
        self.asked.append((file, syntax))
        data = dcmread(file)
        data.compress(syntax, generate_instance_uid=False)
        data.save_as(file.with_suffix(".small"))
        return file.with_suffix(".small").read_bytes()


@pytest.fixture
def image(images: list[Path], tmp_path: Path) -> Path:
    """One that may have files beside it."""
    path = tmp_path / "image.dcm"
    path.write_bytes(images[0].read_bytes())
    return path


@pytest.mark.parametrize("known", [False, True])
def test_only_what_the_peer_took_before_is_begun_before_there_is_an_association(image: Path, known: bool) -> None:
    compression = Noting()
    nobody = DicomDestination(ae_title="NOBODY", host="127.0.0.1", port=free_port(), timeouts=QUICK)
    accepts = {(str(CTImageStorage), str(JPEGLSLossless if known else RLELossless))}
    with pytest.raises(PeerUnreachable):
        store(
            nobody, Caller("WHYRAY"), [read_outgoing(image)], lambda _: None, compression=compression, accepts=accepts
        )
    assert compression.asked == ([(image, str(JPEGLSLossless))] if known else [])


@pytest.mark.parametrize(("option", "expected"), [("+xt", JPEGLSLossless), ("+xi", ImplicitVRLittleEndian)])
def test_what_was_begun_is_sent_if_it_is_still_taken_and_what_is_accepted_is_noted(
    storescp: StoreScpFactory, image: Path, option: str, expected: str
) -> None:
    peer = storescp(options=(option,))
    destination = DicomDestination(ae_title=peer.ae_title, host=peer.host, port=peer.port, timeouts=QUICK)
    compression, outcomes = Noting(), list[Outcome]()
    jpeg_ls = (str(CTImageStorage), str(JPEGLSLossless))
    accepts = {jpeg_ls}
    files = [read_outgoing(image)]
    store(destination, Caller("WHYRAY"), files, outcomes.append, compression=compression, accepts=accepts)
    assert (jpeg_ls in accepts) is (expected == JPEGLSLossless)
    assert [outcome.transfer_syntax_uid for outcome in outcomes] == [str(expected)]
    assert compression.asked == [(image, str(JPEGLSLossless))], "once"
