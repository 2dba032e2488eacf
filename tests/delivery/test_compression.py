"""Results go compressed to who takes them so, and uncompressed to who doesn't."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from sqlalchemy import select
from sqlalchemy.orm import joinedload

import synthetic
from delivery.test_web import Answer, WebService, listed, web  # noqa: F401
from delivery_site import QUICK, DeliverySite
from peers import OrthancFactory, StoreScp, StoreScpFactory
from results.answers import answer_about, image_of
from whyray.base.errors import TimeLimit
from whyray.catalog import Delivery, DeliveryState
from whyray.compression.lossless import COMPRESSIONS, LosslessCompression
from whyray.config import Destination, DicomDestination, DicomWebDestination
from whyray.config.network import COMPRESSED, TRANSFER_SYNTAXES
from whyray.delivery import Caller, Outcome, read_outgoing, store
from whyray.results import build_results, encode, load_templates


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A page, a segmentation, a heatmap and a report."""
    folder = tmp_path_factory.mktemp("results")
    film = synthetic.radiograph(np.add.outer(np.arange(60), np.arange(50)) * 8, study="delivery/compression")
    built = build_results(answer_about(image_of([film])), ["sc", "seg", "pm", "sr"], load_templates())
    made = [result for result in built if result.kind != "sc" or result.finding]
    paths = [folder / f"{number}-{result.kind}.dcm" for number, result in enumerate(made)]
    for path, result in zip(paths, made, strict=True):
        path.write_bytes(encode(result.dataset))
    return paths


def deliver(site: DeliverySite, results: list[Path], destination: Destination) -> None:
    site.results(results, "pacs")
    with site.delivering({"pacs": destination}, compression=LosslessCompression()):
        site.until_state("pacs", DeliveryState.SENT)


def same(received: Dataset, sent: Dataset) -> bool:
    """Whether an object holds the same, in whatever transfer syntax it came."""
    if "PixelData" in sent and not np.array_equal(received.pixel_array, sent.pixel_array):
        return False
    different = {"PixelData", "PhotometricInterpretation"}
    keywords = {element.keyword for element in (*sent, *received)} - different
    return all(received.get(keyword) == sent.get(keyword) for keyword in keywords)


def syntaxes(received: dict[str, Dataset], results: list[Path]) -> list[str]:
    """In which transfer syntax each result came, in order; all of them whole."""
    sent = [dcmread(path) for path in results]
    assert all(same(received[str(dataset.SOPInstanceUID)], dataset) for dataset in sent)
    return [str(received[str(dataset.SOPInstanceUID)].file_meta.TransferSyntaxUID) for dataset in sent]


def noted(site: DeliverySite, results: list[Path]) -> list[str | None]:
    """What the catalog says of the same."""
    with site.catalog.read() as session:
        rows = {
            delivery.result.sop_instance_uid: delivery.transfer_syntax_uid
            for delivery in session.scalars(select(Delivery).options(joinedload(Delivery.result)))
        }
    return [rows[str(dcmread(path).SOPInstanceUID)] for path in results]


PLAIN = str(ExplicitVRLittleEndian)
IMPLICIT = str(ImplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("options", "wanted", "expected"),
    [
        # storescp with +xt takes JPEG-LS and the uncompressed ones, no other
        ((), (JPEG2000Lossless, JPEGLSLossless, PLAIN), [JPEG2000Lossless, PLAIN, PLAIN, PLAIN]),
        (("+xt",), (JPEG2000Lossless, JPEGLSLossless, PLAIN), [JPEGLSLossless, PLAIN, PLAIN, PLAIN]),
        (("+xt",), (RLELossless, PLAIN), [PLAIN] * 4),
        (("+xt",), (PLAIN, JPEGLSLossless), [PLAIN] * 4),
        (("+xt",), (JPEGLSLossless,), [JPEGLSLossless, PLAIN, PLAIN, PLAIN]),
        (("+xt",), (IMPLICIT, JPEGLSLossless), [IMPLICIT] * 4),
        (("+xi",), (JPEGLSLossless, PLAIN, IMPLICIT), [IMPLICIT] * 4),
    ],
)
def test_storescp_gets_each_page_in_the_first_wanted_syntax_that_it_takes(
    options: tuple[str, ...],
    wanted: tuple[str, ...],
    expected: list[str],
    site: DeliverySite,
    storescp: StoreScpFactory,
    results: list[Path],
) -> None:
    peer = storescp(options=options)
    destination = DicomDestination(
        ae_title=peer.ae_title, host=peer.host, port=peer.port, timeouts=QUICK, transfer_syntaxes=wanted
    )
    deliver(site, results, destination)
    assert syntaxes({uid: dcmread(path) for uid, path in peer.files().items()}, results) == expected
    assert noted(site, results) == expected


def test_what_was_compressed_is_sent_as_it_is_and_where_memory_holds_no_file_all_the_same(
    storescp: StoreScpFactory, results: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = [path for path in results if path.stem.endswith("sc")]
    compressed = LosslessCompression().compressed(page[0].read_bytes(), str(JPEGLSLossless))

    def received(peer: StoreScp) -> bytes:
        destination = DicomDestination(ae_title=peer.ae_title, host=peer.host, port=peer.port, timeouts=QUICK)
        outcomes: list[Outcome] = []
        files = [read_outgoing(path) for path in page]
        store(destination, Caller("WHYRAY"), files, outcomes.append, compression=LosslessCompression())
        assert [outcome.transfer_syntax_uid for outcome in outcomes] == [str(JPEGLSLossless)]
        return next(iter(peer.files().values())).read_bytes()

    def whole(file: bytes) -> bytes:
        """The data set, without what the receiver writes before it."""
        return file[file.index(b"\x08\x00\x05\x00CS") :]

    assert whole(received(storescp(options=("+xt",)))) == whole(compressed)

    def none_left(*_: object) -> int:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(os, "memfd_create", none_left)
    assert whole(received(storescp(options=("+xt",)))) == whole(compressed)


def test_by_default_an_archive_that_takes_everything_gets_results_small(
    site: DeliverySite, orthanc: OrthancFactory, results: list[Path]
) -> None:
    pacs = orthanc()
    destination = DicomDestination(ae_title=pacs.ae_title, host=pacs.host, port=pacs.dicom_port, timeouts=QUICK)
    deliver(site, results, destination)
    received = {uid: dcmread(BytesIO(pacs.file(identifier))) for uid, identifier in pacs.instances().items()}
    deflated = str(DeflatedExplicitVRLittleEndian)
    assert syntaxes(received, results) == [JPEGLSLossless, deflated, deflated, PLAIN]
    assert noted(site, results) == [JPEGLSLossless, deflated, deflated, PLAIN]


def test_orthanc_gets_what_it_is_configured_to_accept(
    site: DeliverySite, orthanc: OrthancFactory, results: list[Path]
) -> None:
    pacs = orthanc(settings={"AcceptedTransferSyntaxes": [PLAIN, RLELossless]})
    destination = DicomDestination(
        ae_title=pacs.ae_title,
        host=pacs.host,
        port=pacs.dicom_port,
        timeouts=QUICK,
        transfer_syntaxes=(JPEGLSLossless, RLELossless, PLAIN),
    )
    deliver(site, results, destination)
    received = {uid: dcmread(BytesIO(pacs.file(identifier))) for uid, identifier in pacs.instances().items()}
    assert syntaxes(received, results) == [RLELossless, PLAIN, PLAIN, PLAIN]


def test_orthanc_gets_compressed_pages_by_stow(
    site: DeliverySite, orthanc: OrthancFactory, results: list[Path]
) -> None:
    pacs = orthanc()
    wanted = (JPEGLSLossless, PLAIN)
    deliver(site, results, DicomWebDestination(url=pacs.dicomweb_url, transfer_syntaxes=wanted))
    received = {uid: dcmread(BytesIO(pacs.file(identifier))) for uid, identifier in pacs.instances().items()}
    assert syntaxes(received, results) == [JPEGLSLossless, PLAIN, PLAIN, PLAIN]
    assert noted(site, results) == [JPEGLSLossless, PLAIN, PLAIN, PLAIN]


@pytest.mark.parametrize("refusal", [None, 415, 500])
def test_what_a_web_service_refuses_compressed_is_sent_as_it_is_stored(
    refusal: int | None,
    site: DeliverySite,
    web: Callable[[Callable[[list[str]], Answer]], WebService],  # noqa: F811
    results: list[Path],
) -> None:
    page = str(dcmread(results[0]).SOPInstanceUID)

    def answer(uids: list[str]) -> Answer:
        compressed = [uid for uid, syntax in service.syntaxes[-1] if syntax != PLAIN]
        if compressed and refusal is not None:
            return refusal, None
        return 202, listed([uid for uid in uids if uid not in compressed], dict.fromkeys(compressed, 0xC122))

    service = web(answer)
    deliver(site, results, service.destination(transfer_syntaxes=(JPEGLSLossless, RLELossless)))
    requests = [syntax for request in service.syntaxes for uid, syntax in request if uid == page]
    assert list(dict.fromkeys(requests)) == [JPEGLSLossless, RLELossless, PLAIN]
    others = {syntax for request in service.syntaxes for uid, syntax in request if uid != page}
    assert others == {PLAIN}


def test_the_configuration_names_just_the_compressions_that_there_are() -> None:
    assert {TRANSFER_SYNTAXES[name] for name in COMPRESSED} == set(COMPRESSIONS.values())


@pytest.mark.parametrize("syntax", ["JPEGBaseline8Bit", "HTJ2KLossless", "ExplicitVRBigEndian"])
def test_a_syntax_that_results_cant_be_sent_in_is_refused_when_the_file_is_read(syntax: str) -> None:
    with pytest.raises(ValueError, match="can't be sent in this transfer syntax"):
        DicomDestination(ae_title="PACS", host="127.0.0.1", transfer_syntaxes=(syntax,))
    with pytest.raises(ValueError, match="can't be sent in this transfer syntax"):
        DicomWebDestination(url="http://127.0.0.1/dicom-web", transfer_syntaxes=("ImplicitVRLittleEndian",))


class Hanging(LosslessCompression):
    """An encoder that comes to no end."""

    def compressed(self, _: bytes, _uid: str, /) -> bytes:
        raise TimeLimit("compressing a result took longer than 300 s")


@pytest.mark.parametrize("by_web", [False, True])
def test_what_the_encoder_hangs_over_goes_uncompressed(
    by_web: bool, site: DeliverySite, orthanc: OrthancFactory, results: list[Path]
) -> None:
    pacs = orthanc()
    destination: Destination = DicomDestination(
        ae_title=pacs.ae_title, host=pacs.host, port=pacs.dicom_port, timeouts=QUICK
    )
    if by_web:
        destination = DicomWebDestination(url=pacs.dicomweb_url)
    site.results(results, "pacs")
    with site.delivering({"pacs": destination}, compression=Hanging()):
        site.until_state("pacs", DeliveryState.SENT)
    assert noted(site, results) == [PLAIN] * 4
