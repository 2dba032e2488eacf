"""DICOM over TLS into WhyRay: who shows what, with dcmtk's storescu as the peer."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from certificates import Authority
from intake.conftest import Running
from intake.scu import encode, small, uid
from intake.web import BOUNDARY, multipart, part10
from peers import echoes, free_port, until
from whyray.base.errors import ConfigError
from whyray.config import DicomWebListener, ListenerTls, Peer
from whyray.config.services import DicomWebTls
from whyray.intake.listener import Place
from whyray.intake.server import Arrived, IntakeServer, OpenConnection
from whyray.intake.upper_layer import UpperLayer

Listen = Callable[..., Running]


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "hospital", "hospital")


def settings(hospital: Authority, *, mutual: bool = True, **more: object) -> ListenerTls:
    certificate, key = hospital.signs("whyray")
    authorities = {"authorities": hospital.file} if mutual else {}
    return ListenerTls.model_construct(
        **{"certificate": certificate, "key": key, "authorities": None, "revoked": None, "only": False, "port": 0}
        | authorities
        | more
    )


def send(running: Running, trusted: Path, shown: tuple[Path, Path] | None, file: Path, *profile: str) -> int:
    """The exit code of storescu, which sends a file by TLS."""
    program = shutil.which("storescu")
    if program is None:
        pytest.skip("storescu is not installed: apt-get install dcmtk")
    with_certificate = ["+tla"] if shown is None else ["+tls", str(shown[1]), str(shown[0])]
    told = [*with_certificate, *profile, "+cf", str(trusted), "-aec", "WHYRAY", "127.0.0.1", str(running.scp.tls_port)]
    return subprocess.run([program, *told, str(file)], capture_output=True, timeout=60, check=False).returncode


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.dcm"
    path.write_bytes(part10(small(1)))
    return path


@pytest.mark.parametrize("profile", ["+py", "+px"])
def test_a_peer_with_a_certificate_of_the_hospital_sends_by_tls(
    listen: Listen, hospital: Authority, film: Path, profile: str
) -> None:
    running = listen(tls=settings(hospital))
    assert send(running, hospital.file, hospital.signs("modality"), film, profile) == 0
    assert [instance.sop_instance_uid for instance in running.instances()] == [uid("1", 1)]
    with running.sender() as sender:
        assert sender.store(encode(small(2)), uid("1", 2)).Status == 0, "the plain port goes on beside it"


@pytest.mark.parametrize("whose", ["another authority's", "expired", "revoked", "none"])
def test_a_peer_with_the_wrong_certificate_or_none_is_refused_with_an_event(
    listen: Listen, hospital: Authority, film: Path, whose: str, tmp_path: Path
) -> None:
    revoked = hospital.signs("stolen")
    shown = {
        "another authority's": Authority(tmp_path / "other", "other").signs("modality"),
        "expired": hospital.signs("old", expired=True),
        "revoked": revoked,
        "none": None,
    }[whose]
    running = listen(tls=settings(hospital, revoked=hospital.revokes(revoked[0])))
    assert send(running, hospital.file, shown, film) != 0
    until(lambda: running.events("intake.aborted"))
    assert "no TLS" in running.events("intake.aborted")[0].message
    assert running.instances() == []
    assert send(running, hospital.file, hospital.signs("modality"), film) == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_plain_dicom_and_old_tls_on_the_port_of_tls_are_refused_with_an_event(
    listen: Listen, hospital: Authority
) -> None:
    running = listen(tls=settings(hospital, mutual=False))
    port = running.scp.tls_port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(b"\x01\x00\x00\x00\x00\xcd\x00\x01")
        plain.settimeout(20)
        with suppress(ConnectionResetError):
            plain.recv(100)
    until(lambda: running.events("intake.aborted"))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", port)) as outdated, pytest.raises(OSError):
        old.wrap_socket(outdated)


def test_a_peer_that_has_to_come_by_tls_is_rejected_without(listen: Listen, hospital: Authority, film: Path) -> None:
    peers = {"STORESCU": Peer(address="127.0.0.1", tls=True)}
    running = listen(tls=settings(hospital), peers=peers)
    program = shutil.which("storescu")
    if program is None:
        pytest.skip("storescu is not installed: apt-get install dcmtk")
    plain = [program, "-aec", "WHYRAY", "127.0.0.1", str(running.port), str(film)]
    assert subprocess.run(plain, capture_output=True, timeout=60, check=False).returncode != 0
    until(lambda: running.events("intake.rejected"))
    assert "by TLS" in running.events("intake.rejected")[0].message
    assert send(running, hospital.file, hospital.signs("modality"), film) == 0


def test_where_tls_alone_is_wanted_no_plain_port_is_open(listen: Listen, hospital: Authority, film: Path) -> None:
    running = listen(tls=settings(hospital, only=True))
    assert running.scp.port is None
    assert send(running, hospital.file, hospital.signs("modality"), film) == 0


def test_a_renewed_certificate_is_shown_without_a_restart(listen: Listen, hospital: Authority, tmp_path: Path) -> None:
    made = settings(hospital, mutual=False)
    running = listen(tls=made)

    def serial() -> int:
        trusting = ssl.create_default_context(cafile=str(hospital.file))
        plain = socket.create_connection(("127.0.0.1", running.scp.tls_port))
        with trusting.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted:
            return int(str((encrypted.getpeercert() or {})["serialNumber"]), 16)

    before = serial()
    hospital.signs("whyray")  # in the same files
    assert serial() != before
    made.certificate.write_text("half written")
    after = serial()
    assert after != before


def test_a_peer_that_never_shakes_hands_holds_nobody_up(listen: Listen, hospital: Authority, film: Path) -> None:
    running = listen(tls=settings(hospital), limits={"acse_timeout": timedelta(seconds=1)})
    assert running.scp.tls_port is not None
    with socket.create_connection(("127.0.0.1", running.scp.tls_port)):
        assert send(running, hospital.file, hospital.signs("modality"), film) == 0
        until(lambda: running.events("intake.aborted"))
    assert "did not take part in the handshake in time" in running.events("intake.aborted")[0].message


@pytest.mark.parametrize("leaves", ["closes", "resets"])
def test_a_probe_that_connects_to_the_port_of_tls_and_leaves_is_no_event(
    listen: Listen, hospital: Authority, film: Path, leaves: str
) -> None:
    running = listen(tls=settings(hospital))
    assert running.scp.tls_port is not None
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", running.scp.tls_port)) as probe:
            if leaves == "resets":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert send(running, hospital.file, hospital.signs("modality"), film) == 0
    until(lambda: running.scp.associations == 0)
    assert running.events("intake.aborted") == []


def test_connections_that_never_shake_hands_make_room_for_others(listen: Listen, hospital: Authority) -> None:
    running = listen(tls=settings(hospital), limits={"max_associations": 1, "acse_timeout": timedelta(minutes=5)})
    assert running.scp.tls_port is not None
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", running.scp.tls_port), timeout=20))
            for _ in range(5)
        ]
        assert silent[0].recv(1) == b"", "the oldest is closed"


def test_stow_rs_by_https_shows_a_renewed_certificate_without_a_restart(
    listen: Listen, hospital: Authority, film: Path
) -> None:
    certificate, key = hospital.signs("whyray")
    web = DicomWebListener.model_construct(
        address="127.0.0.1", port=0, tokens={}, worklist=None, tls=DicomWebTls(certificate=certificate, key=key)
    )
    running = listen(dicomweb=web)
    where = f"https://127.0.0.1:{running.scp.dicomweb_port}/dicom-web/studies"
    trusting = ssl.create_default_context(cafile=str(hospital.file))
    kind = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'}
    assert httpx.post(where, content=multipart(film.read_bytes()), headers=kind, verify=trusting).status_code == 200
    other = Authority(hospital.folder, "other")
    other.signs("whyray")  # in the same files
    with pytest.raises(httpx.ConnectError):
        httpx.get(where, verify=trusting)
    assert httpx.get(where, verify=ssl.create_default_context(cafile=str(other.file))).status_code == 405


def test_a_file_that_is_no_certificate_is_named_and_what_to_do(listen: Listen, hospital: Authority) -> None:
    made = settings(hospital)
    made.key.write_text("no key")
    with pytest.raises(ConfigError, match="can't be used for TLS"):
        listen(tls=made)


def moved(running: Running, **changed: object) -> None:
    """The same configuration with other values, in the section `tls` where it is one of its."""
    now = running.scp._listener
    of_tls = {name: value for name, value in changed.items() if name not in ("port", "address")}
    plain = {name: value for name, value in changed.items() if name in ("port", "address")}
    if "tls_port" in of_tls:
        of_tls["port"] = of_tls.pop("tls_port")
    running.scp.update(now.model_copy(update={**plain, "tls": now.tls.model_copy(update=of_tls)}))


def test_plain_and_tls_move_together_even_into_each_other_s_place(
    listen: Listen, hospital: Authority, film: Path
) -> None:
    first, second = free_port(), free_port()
    running = listen(port=first, tls=settings(hospital, port=second))
    moved(running, port=second, tls_port=first)
    assert (running.scp.port, running.scp.tls_port) == (second, first)
    assert echoes(second, "WHYRAY")
    assert send(running, hospital.file, hospital.signs("modality"), film) == 0
    moved(running, address="127.0.0.2")
    assert echoes(second, "WHYRAY", host="127.0.0.2")
    for port in (first, second):
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("into_each_other", [False, True])
def test_where_one_of_them_can_t_listen_both_stay_where_they_were(
    listen: Listen, hospital: Authority, film: Path, into_each_other: bool
) -> None:
    first, second = free_port(), free_port()
    running = listen(port=first, tls=settings(hospital, port=second))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1 port {taken}"):
            moved(running, port=second if into_each_other else free_port(), tls_port=taken)
    assert (running.scp.port, running.scp.tls_port) == (first, second)
    assert echoes(first, "WHYRAY")
    assert send(running, hospital.file, hospital.signs("modality"), film) == 0


def test_what_the_next_start_alone_would_change_can_be_taken_back(
    listen: Listen, hospital: Authority, film: Path
) -> None:
    first, second = free_port(), free_port()
    running = listen(port=first, tls=settings(hospital, port=second))
    before = running.scp._listener
    for meanwhile in (
        before.model_copy(update={"tls": before.tls.model_copy(update={"only": True})}),
        before.model_copy(update={"tls": None}),
    ):
        for listener in (meanwhile, before):
            running.scp.update(listener)
            assert (running.scp.port, running.scp.tls_port) == (first, second)
            assert echoes(first, "WHYRAY")
            assert send(running, hospital.file, hospital.signs("modality"), film) == 0


def test_a_port_that_changed_while_tls_alone_was_asked_for_is_listened_on_once_it_is_named_again(
    listen: Listen, hospital: Authority
) -> None:
    running = listen(tls=settings(hospital))
    new = free_port()
    moved(running, port=new, only=True)
    assert running.scp.port != new
    moved(running, only=False)
    assert running.scp.port == new
    assert echoes(new, "WHYRAY")


def test_an_old_port_that_another_program_takes_meanwhile_costs_no_other_and_is_tried_again(
    listen: Listen, hospital: Authority, film: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = free_port(), free_port()
    running = listen(port=first, tls=settings(hospital, port=second))
    serve = running.scp._serve

    def taken(spoken: str, place: Place) -> IntakeServer:
        if place.port == first:
            raise ConfigError(f"can't listen on {place.address} port {first}")
        return serve(spoken, place)

    with monkeypatch.context() as patch:
        patch.setattr(running.scp, "_serve", taken)
        for _ in range(2):
            with pytest.raises(ConfigError) as refused:
                moved(running, port=second, tls_port=first)
            assert "nothing listens for plain DICOM" in refused.value.message
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"nothing listens for plain DICOM, since WhyRay can't listen on 127.0.0.1 port {first}"
    ]
    assert (running.scp.port, running.scp.tls_port) == (None, second)
    assert send(running, hospital.file, hospital.signs("modality"), film) == 0
    running.scp.update(running.scp._listener)
    assert (running.scp.port, running.scp.tls_port) == (first, second)
    assert echoes(first, "WHYRAY")


def test_another_certificate_is_shown_from_the_next_connection_on(
    listen: Listen, hospital: Authority, film: Path, tmp_path: Path
) -> None:
    running = listen(tls=settings(hospital))
    other = Authority(tmp_path / "other", "other")
    certificate, key = other.signs("whyray")
    moved(running, certificate=certificate, key=key)
    assert send(running, other.file, hospital.signs("modality"), film) == 0
    with pytest.raises(ConfigError):
        moved(running, certificate=tmp_path / "missing.pem")
    assert send(running, other.file, hospital.signs("modality"), film) == 0, "what can't be used is not in force"


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00"], ids=["nothing", "a byte", "a head"])
def test_the_handshake_has_what_is_left_of_the_time_since_the_connection_came(
    listen: Listen, hospital: Authority, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    arrived_before(monkeypatch, hour=1)
    running = listen(tls=settings(hospital), limits={"acse_timeout": timedelta(minutes=5)})
    with socket.create_connection(("127.0.0.1", running.scp.tls_port), timeout=20) as slow:
        slow.sendall(sent)
        with suppress(ConnectionResetError):
            assert slow.recv(1) == b""
    until(lambda: running.events("intake.aborted"))
    assert "did not take part in the handshake in time" in running.events("intake.aborted")[0].message


def test_a_request_has_what_is_left_of_the_time_since_the_connection_came(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived_before(monkeypatch, hour=1)
    running = listen(limits={"acse_timeout": timedelta(minutes=5)})
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as slow:
        assert slow.recv(1) == b""
    until(lambda: running.events("intake.aborted"))
    assert "no association was requested" in running.events("intake.aborted")[0].message


def arrived_before(monkeypatch: pytest.MonkeyPatch, *, hour: int) -> None:
    """Have each connection seem to have come so long ago."""
    count = IntakeServer.count

    def earlier(server: IntakeServer, connection: socket.socket, what: OpenConnection) -> None:
        if isinstance(what, Arrived):
            what.opened -= 3600 * hour
        count(server, connection, what)

    monkeypatch.setattr(IntakeServer, "count", earlier)


def test_the_time_for_a_request_does_not_begin_anew_after_the_handshake(listen: Listen, hospital: Authority) -> None:
    running = listen(tls=settings(hospital, mutual=False), limits={"acse_timeout": timedelta(minutes=5)})
    server = running.scp._servers["TLS"]

    def of_kind(kind: type[OpenConnection]) -> list[OpenConnection]:
        return [connection for connection in list(server._connections.values()) if isinstance(connection, kind)]

    with socket.create_connection(("127.0.0.1", running.scp.tls_port)) as plain:
        until(lambda: of_kind(Arrived), what="the connection")
        came = of_kind(Arrived)[0].opened
        trusting = ssl.create_default_context(cafile=str(hospital.file))
        with trusting.wrap_socket(plain, server_hostname="127.0.0.1"):
            until(lambda: of_kind(UpperLayer), what="the association")
            (layer,) = of_kind(UpperLayer)
            assert layer.opened == came
            timer = layer._dul.artim_timer
            until(lambda: timer.is_running, what="the timer")
            assert timer._started == came
