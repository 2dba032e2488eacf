"""Orthanc and WhyRay by TLS with certificates on both sides: STOW-RS, WADO-RS and DICOM, in both directions."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite

from certificates import Authority
from intake.conftest import Running, catalog, listen, storage
from intake.scu import small, uid
from intake.web import part10
from peers import Modality, OrthancFactory, OrthancServer
from synthetic import CYRILLIC, JAPANESE, LATIN, UNICODE, Patient, radiograph
from whyray.base.errors import PeerUnreachable
from whyray.config import CallerTls, DicomDestination, DicomWebDestination, DicomWebListener, ListenerTls
from whyray.config.services import DicomWebTls
from whyray.delivery import Caller, Outcome, Outgoing, echo, stow, web_client

__all__ = ["catalog", "listen", "storage"]

NAMES: dict[str, Patient] = {"Latin": LATIN, "Cyrillic": CYRILLIC, "Japanese": JAPANESE, "Unicode": UNICODE}
Listen = Callable[..., Running]


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "hospital", "hospital")


@contextmanager
def closed(hospital: Authority, port: int) -> Iterator[int]:
    """A port in front of another that lets in who shows a certificate of the hospital, as a proxy in front of Orthanc.

    Orthanc's own HTTPS can't be used: that of Debian 12 (1.10.1) dies of its first request.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*hospital.signs("orthanc"))
    context.load_verify_locations(hospital.file)
    context.verify_mode = ssl.CERT_REQUIRED

    class Through(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), ExitStack() as stack:
                known = stack.enter_context(context.wrap_socket(self.request, server_side=True))
                behind = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                thread = threading.Thread(target=passed_on, args=(behind, known), daemon=True)
                thread.start()
                passed_on(known, behind)
                thread.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Through) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def passed_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while piece := one.recv(1 << 16):
            other.sendall(piece)
        other.shutdown(socket.SHUT_WR)


def a_film(folder: Path, patient: Patient) -> tuple[Dataset, Outgoing]:
    made = radiograph(np.zeros((8, 8)), patient=patient, study=str(folder), series=str(folder))
    path = folder / "film.dcm"
    dcmwrite(path, made, enforce_file_format=True)
    sent = Outgoing(path, str(made.SOPClassUID), str(made.SOPInstanceUID), str(made.file_meta.TransferSyntaxUID))
    return made, sent


@pytest.mark.parametrize("letters", NAMES)
def test_an_orthanc_that_asks_for_a_certificate_takes_results_and_gives_them_with_every_name_as_it_was(
    hospital: Authority, shared_orthanc: OrthancServer, tmp_path: Path, letters: str
) -> None:
    certificate, key = hospital.signs("whyray")
    told: list[Outcome] = []
    film, sent = a_film(tmp_path, NAMES[letters])
    with closed(hospital, shared_orthanc.http_port) as port:
        trusting = {"url": f"https://127.0.0.1:{port}/dicom-web", "ca_file": hospital.file}
        with pytest.raises(PeerUnreachable):
            stow(DicomWebDestination.model_validate(trusting), [sent], told.append)
        known = DicomWebDestination.model_validate(trusting | {"certificate": certificate, "key": key})
        stow(known, [sent], told.append)
        assert [outcome.stored for outcome in told] == [True]
        echo(known, Caller())
        with web_client(known) as client:
            # its search loses all but ASCII
            (header,) = client.get(f"/studies/{film.StudyInstanceUID}/metadata").json()
    (name,) = header["00100010"]["Value"]
    assert "=".join(name[part] for part in ("Alphabetic", "Ideographic", "Phonetic") if part in name) == str(
        film.PatientName
    )


def web_listener(hospital: Authority, **trusted: Path) -> DicomWebListener:
    certificate, key = hospital.signs("whyray")
    tls = DicomWebTls.model_validate({"certificate": certificate, "key": key} | trusted)
    return DicomWebListener.model_construct(address="127.0.0.1", port=0, tokens={}, worklist=None, tls=tls)


@pytest.mark.parametrize("whose", ["hospital's", "another's", "revoked", "none"])
def test_orthanc_sends_by_stow_rs_only_with_a_certificate_of_the_hospital(
    listen: Listen, hospital: Authority, orthanc: OrthancFactory, tmp_path: Path, whose: str
) -> None:
    given = Authority(tmp_path / "other", "other") if whose == "another's" else hospital
    certificate, key = given.signs("orthanc")
    revoked = hospital.revokes(*([certificate] if whose == "revoked" else []))
    running = listen(dicomweb=web_listener(hospital, authorities=hospital.file, revoked=revoked))
    server = {"Url": f"https://127.0.0.1:{running.scp.dicomweb_port}/dicom-web/"}
    if whose != "none":
        server |= {"CertificateFile": str(certificate), "CertificateKeyFile": str(key)}
    pacs = orthanc(
        settings={
            "HttpsCACertificates": str(hospital.file),
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Servers": {"whyray": server}},
        }
    )
    path = tmp_path / "film.dcm"
    path.write_bytes(part10(small(1)))
    order = {"Resources": pacs.upload([path]), "Synchronous": True}
    if whose == "hospital's":
        pacs.post("/dicom-web/servers/whyray/stow", order)
        assert [instance.sop_instance_uid for instance in running.instances()] == [uid("1", 1)]
    else:
        with pytest.raises(PeerUnreachable, match="500"):
            pacs.post("/dicom-web/servers/whyray/stow", order)
        assert running.instances() == []


def test_orthanc_and_whyray_speak_dicom_by_tls_in_both_directions(
    listen: Listen, hospital: Authority, orthanc: OrthancFactory, tmp_path: Path
) -> None:
    own, shown = hospital.signs("whyray"), hospital.signs("orthanc")
    settings = {"certificate": own[0], "key": own[1], "authorities": hospital.file}
    running = listen(tls=ListenerTls.model_construct(revoked=None, only=True, port=0, **settings))
    pacs = orthanc(
        settings={
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(shown[0]),
            "DicomTlsPrivateKey": str(shown[1]),
            "DicomTlsTrustedCertificates": str(hospital.file),
            "DicomModalities": {
                "whyray": {"AET": "WHYRAY", "Host": "127.0.0.1", "Port": running.scp.tls_port, "UseDicomTls": True}
            },
        },
        modalities={"whyray": Modality("WHYRAY", "127.0.0.1", running.scp.tls_port or 0)},
    )
    path = tmp_path / "film.dcm"
    path.write_bytes(part10(small(1)))
    (identifier,) = pacs.upload([path])
    pacs.post("/modalities/whyray/store", {"Resources": [identifier], "Synchronous": True})
    assert [instance.sop_instance_uid for instance in running.instances()] == [uid("1", 1)]

    def asked(**tls: Path) -> None:
        peer = DicomDestination(ae_title="ORTHANC", host="127.0.0.1", port=pacs.dicom_port, tls=CallerTls(**tls))  # type: ignore[arg-type]
        echo(peer, Caller())

    asked(**settings)
    with pytest.raises(PeerUnreachable):
        asked(authorities=hospital.file)
