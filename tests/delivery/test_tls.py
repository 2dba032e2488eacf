"""DICOM over TLS out of WhyRay: whom it trusts and what it shows, with dcmtk's storescp and Orthanc as peers."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from certificates import Authority
from delivery_site import PATIENT, DeliverySite, ScpFactory
from peers import free_port, until
from whyray.base.errors import PeerUnreachable
from whyray.catalog import DeliveryState
from whyray.config import AssociationTimeouts, CallerTls, Destination, DicomDestination, DicomWebDestination
from whyray.delivery import Caller, echo


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "hospital", "hospital")


@contextmanager
def storescp(shown: tuple[Path, Path], trusted: Path) -> Iterator[int]:
    """dcmtk's storescp by TLS, which asks for a certificate; its port."""
    program = shutil.which("storescp")
    if program is None:
        pytest.skip("storescp is not installed: apt-get install dcmtk")
    port = free_port()
    told = ["-aet", "PACS", "--ignore", "+tls", str(shown[1]), str(shown[0]), "+cf", str(trusted), str(port)]
    peer = subprocess.Popen([program, *told], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        peer.terminate()
        peer.wait()


def pacs(port: int, **tls: object) -> DicomDestination:
    return DicomDestination(ae_title="PACS", host="127.0.0.1", port=port, tls=CallerTls(**tls))  # type: ignore[arg-type]


def answers(destination: DicomDestination) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            echo(destination, Caller())
        except PeerUnreachable:
            return False
        return True

    return asked


def test_a_peer_of_the_hospital_is_reached_by_tls_with_both_certificates_checked(hospital: Authority) -> None:
    certificate, key = hospital.signs("whyray")
    with storescp(hospital.signs("pacs"), hospital.file) as port:
        until(answers(pacs(port, authorities=hospital.file, certificate=certificate, key=key)))
        with pytest.raises(PeerUnreachable):
            echo(pacs(port, authorities=hospital.file), Caller())


@pytest.mark.parametrize(
    ("whose", "why"),
    [
        ("another authority's", "not trusted"),
        ("expired", "certificate has expired"),
        ("revoked", "certificate revoked"),
        ("another host's", "IP address mismatch"),
    ],
)
def test_a_peer_that_can_not_show_who_it_is_gets_nothing(
    hospital: Authority, whose: str, why: str, tmp_path: Path
) -> None:
    certificate, key = hospital.signs("whyray")
    stolen = hospital.signs("stolen")
    shown = {
        "another authority's": lambda: Authority(tmp_path / "other", "other").signs("pacs"),
        "expired": lambda: hospital.signs("pacs", expired=True),
        "revoked": lambda: stolen,
        "another host's": lambda: hospital.signs("pacs", host="10.0.0.9"),
    }[whose]()
    trusting = {"authorities": hospital.file, "certificate": certificate, "key": key}
    lax = {"check_host": False} if whose == "another host's" else {}
    with storescp(shown, hospital.file) as port:
        checked = pacs(port, revoked=hospital.revokes(stolen[0]), **trusting)

        def said() -> str:
            with pytest.raises(PeerUnreachable) as refused:
                echo(checked, Caller())
            return refused.value.message

        until(lambda: "refused after" not in said(), what="storescp listens")
        assert why in said()
        if lax:
            assert answers(pacs(port, **trusting, **lax))()


def test_a_peer_that_says_nothing_after_the_handshake_is_given_up(hospital: Authority) -> None:
    """Its session tickets were taken for the beginning of an answer, and waited for to their end, for good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*hospital.signs("pacs"))
    short = AssociationTimeouts(acse=timedelta(seconds=1), dimse=timedelta(seconds=1))
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(2) as threads, ExitStack() as opened:

        def shake() -> None:
            opened.enter_context(context.wrap_socket(listener.accept()[0], server_side=True))

        shaken = threads.submit(shake)
        peer = pacs(listener.getsockname()[1], authorities=hospital.file).model_copy(update={"timeouts": short})
        asked = threads.submit(echo, peer, Caller())
        shaken.result(timeout=30)
        try:
            with pytest.raises(PeerUnreachable, match="did not answer the association request"):
                asked.result(timeout=30)
        finally:
            opened.close()  # lets go who waits all the same


Renewing = Callable[[Path, Path, tuple[Path, Path]], tuple[Path, bytes | None]]
HALF_COPIED: dict[str, Renewing] = {
    "a half-copied certificate": lambda certificate, key, other: (certificate, certificate.read_bytes()[:300]),
    "a certificate before its key": lambda certificate, key, other: (certificate, other[0].read_bytes()),
    "a key before its certificate": lambda certificate, key, other: (key, other[1].read_bytes()),
    "no key": lambda certificate, key, other: (key, None),
}


@pytest.mark.parametrize("by", ["C-STORE", "STOW-RS"])
@pytest.mark.parametrize("moment", HALF_COPIED)
def test_deliveries_wait_while_a_certificate_is_being_renewed(
    moment: str, by: str, hospital: Authority, site: DeliverySite, scp: ScpFactory, images: list[Path]
) -> None:
    """They failed for good, fifty at a time."""
    certificate, key = hospital.signs("whyray")
    file, content = HALF_COPIED[moment](certificate, key, hospital.signs("renewed"))
    former = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    told = scp(shows=hospital.signs("pacs"))
    shown = {"certificate": certificate, "key": key}
    destination: Destination
    if by == "C-STORE":
        destination = told.destination(tls=CallerTls(authorities=hospital.file, **shown))
    else:
        destination = DicomWebDestination(url="https://127.0.0.1:9", ca_file=hospital.file, retry=PATIENT, **shown)
    site.results(images[:2], "pacs")
    with site.delivering({"pacs": destination}):
        rows = site.until_state("pacs", DeliveryState.WAITING)
        assert {row.error_code for row in rows} == {"PeerUnreachable"}
        assert all("can't be used for TLS" in (row.error_message or "") for row in rows)
        file.write_bytes(former)
        if by == "C-STORE":
            site.clock.forward(timedelta(hours=2))
            site.until_state("pacs", DeliveryState.SENT)
