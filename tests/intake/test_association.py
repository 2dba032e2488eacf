"""Associations: who is let in, what probes and aborts leave behind, and what a new configuration changes."""

from __future__ import annotations

import gc
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE

from intake.conftest import Running, listener_settings
from intake.scu import NoAssociationError, Sender, encode, small, uid
from peers import echoes, free_port, until
from whyray.base.errors import ConfigError
from whyray.config import Peer
from whyray.intake.admission import HostNames, rejection

Listen = Callable[..., Running]
PACS_ONLY = {"PACS_MAIN": Peer(address=("127.0.0.1",))}


def _refused(running: Running, **options: str) -> bool:
    try:
        with running.sender(**options):
            return False
    except NoAssociationError:
        return True


def test_echo_is_answered(listen: Listen) -> None:
    assert echoes(listen().port, "WHYRAY")


def test_a_wrong_called_title_is_rejected_and_noted(listen: Listen) -> None:
    running = listen()
    assert _refused(running, called="SOMEBODY")
    until(lambda: running.events("intake.rejected"))
    assert "called 'SOMEBODY'" in running.events("intake.rejected")[0].message


def test_only_peers_that_are_named_are_let_in_and_only_from_their_address(listen: Listen) -> None:
    peers = {**PACS_ONLY, "ELSEWHERE": Peer(address=("10.0.0.0/8",)), "NAMED": Peer(address=("localhost",))}
    running = listen(peers=peers)
    assert not _refused(running, calling="PACS_MAIN")
    assert not _refused(running, calling="NAMED")
    assert _refused(running, calling="STRANGER")
    assert _refused(running, calling="ELSEWHERE")
    until(lambda: len(running.events("intake.rejected")) == 2)


def test_a_rejection_says_who_is_not_recognised() -> None:
    def reason(**given: object) -> tuple[int, int, int] | None:
        rejected = rejection(
            listener_settings(peers=PACS_ONLY),
            **{  # type: ignore[arg-type]
                "called": "WHYRAY",
                "calling": "PACS_MAIN",
                "address": "127.0.0.1",
                "in_use": 0,
                "resolve": HostNames(),
                **given,
            },
        )
        return rejected and (rejected.result, rejected.source, rejected.reason)

    assert reason() is None
    assert reason(called="OTHER") == (1, 1, 7)
    assert reason(calling="OTHER") == (1, 1, 3)
    assert reason(address="127.0.0.2") == (1, 1, 3)
    assert reason(in_use=50) == (2, 3, 2)


def test_a_new_allow_list_holds_for_new_associations_and_drops_none(listen: Listen) -> None:
    running = listen(peers=PACS_ONLY)
    with running.sender(calling="PACS_MAIN") as sender:
        running.scp.update(listener_settings(peers={"OTHER": Peer(address=("any",))}).model_copy(update={"port": 0}))
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
        assert _refused(running, calling="PACS_MAIN")
        assert not _refused(running, calling="OTHER")


def test_the_port_can_change_without_dropping_associations(listen: Listen) -> None:
    running = listen()
    before, new = running.port, free_port()
    with running.sender() as sender:
        running.scp.update(listener_settings(port=new))
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
        assert running.port == new
        assert echoes(new, "WHYRAY")
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", before)):
            pass


def test_a_port_that_is_taken_is_a_configuration_error_and_the_old_one_goes_on(listen: Listen) -> None:
    running = listen()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="can't listen"):
            running.scp.update(listener_settings(port=other.getsockname()[1]))
    assert echoes(running.port, "WHYRAY")


def test_the_address_can_change_while_the_port_stays(listen: Listen) -> None:
    port = free_port()
    running = listen(port=port)
    with running.sender() as sender:
        running.scp.update(listener_settings(port=port, address="127.0.0.2"))
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
    assert running.port == port
    assert echoes(port, "WHYRAY", host="127.0.0.2")
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


def test_an_address_that_is_not_this_machine_s_is_a_configuration_error_and_the_old_one_goes_on(listen: Listen) -> None:
    running = listen(port=free_port())
    before = running.scp._servers["plain"]
    with pytest.raises(ConfigError, match=rf"can't listen on 192\.0\.2\.1 port {running.port}"):
        running.scp.update(listener_settings(port=running.port, address="192.0.2.1"))
    assert running.scp._servers["plain"] is before, "it has not been away"
    assert echoes(running.port, "WHYRAY")


def test_a_new_ae_title_is_called_from_the_next_association_on(listen: Listen) -> None:
    running = listen()
    with running.sender() as sender:
        running.scp.update(running.scp._listener.model_copy(update={"ae_title": "RENAMED"}))
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
    assert echoes(running.port, "RENAMED")
    assert _refused(running, called="WHYRAY")


def test_one_association_above_the_limit_is_rejected_until_one_ends(listen: Listen) -> None:
    running = listen(limits={"max_associations": 2})
    with running.sender(), running.sender():
        assert _refused(running)
    until(lambda: running.scp.associations == 0)
    assert not _refused(running)


def _census() -> tuple[int, int]:
    """Threads and descriptors, without the catalog's: its pool of connections grows, within bounds, under load."""
    gc.collect()
    names = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            names.append(str(descriptor.readlink()))
    return threading.active_count(), sum(".sqlite" not in name for name in names)


def _held_by_listener(port: int) -> int:
    """The listener's association threads and open connections; the sender in this process is not what is tested."""
    acceptors = [thread for thread in threading.enumerate() if isinstance(thread, Association) and thread.is_acceptor]
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    # columns: 1 local address, 3 state (0A is listening), 9 inode (0: no process holds it any more)
    held = [row for row in rows if int(row[1].split(":")[1], 16) == port and row[3] != "0A" and row[9] != "0"]
    return len(acceptors) + len(held)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts file descriptors in /proc")
def test_two_hundred_probes_of_a_load_balancer_leave_no_thread_and_no_descriptor(listen: Listen) -> None:
    running = listen(limits={"acse_timeout": timedelta(minutes=5)})
    assert echoes(running.port, "WHYRAY")
    until(lambda: running.scp.associations == 0)
    before = _census()
    for number in range(200):
        with socket.create_connection(("127.0.0.1", running.port)) as probe:
            if number % 3 == 1:  # ended by a reset instead of a close
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif number % 3 == 2:
                probe.sendall(b"GET / HTTP/1.0\r\n\r\n")
    until(lambda: _census() <= before, what=f"the census {before}")
    assert echoes(running.port, "WHYRAY")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts file descriptors in /proc")
def test_aborted_and_broken_associations_leave_no_thread_no_descriptor_and_no_file(listen: Listen) -> None:
    running = listen()
    with running.sender() as sender:
        assert sender.store(encode(small(0)), uid("1", 0)).Status == 0
    until(lambda: running.scp.associations == 0)
    for number in range(20):
        sender = running.sender()
        if number % 2:
            _send_half_an_instance(sender)
        if number % 4 < 2:
            sender.association.abort()
        else:
            sender.association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    until(lambda: _held_by_listener(running.port) == 0, what="the listener's threads and sockets to be gone")
    until(lambda: len(running.files()) == 1, what="only the first instance on disk")
    assert running.scp.associations == 0


def _send_half_an_instance(sender: Sender) -> None:
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = small(1).SOPClassUID, uid("1", 1)
    request.DataSet = BytesIO(encode(small(1, pixels=os.urandom(20000))))
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    for fragment in list(message.encode_msg(1, 4096))[:-1]:
        sender.association.dul.send_pdu(fragment)


def test_a_peer_that_stops_in_the_middle_of_a_pdu_is_given_up(listen: Listen) -> None:
    running = listen(limits={"dimse_timeout": timedelta(seconds=0.3), "acse_timeout": timedelta(seconds=0.3)})
    threads = threading.active_count()
    with socket.create_connection(("127.0.0.1", running.port)) as stalled:
        stalled.sendall(b"\x01\x00\x00\x00\x00\xff only the beginning")
        stalled.settimeout(20)
        assert stalled.recv(1) == b"", "the listener closes the connection"
    until(lambda: threading.active_count() <= threads)


def test_silent_peers_shut_nobody_out(listen: Listen) -> None:
    running = listen(limits={"max_associations": 2, "acse_timeout": timedelta(minutes=5)})
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", running.port))) for _ in range(20)]
        for peer in silent:
            with suppress(OSError):  # closed already
                peer.sendall(b"\x01\x00\x00")
        with running.sender() as sender:
            assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
        until(lambda: running.events("intake.aborted"))
    assert "made room for another" in running.events("intake.aborted")[0].message


def test_a_request_that_comes_byte_by_byte_has_to_be_there_in_time_all_the_same(listen: Listen) -> None:
    running = listen(limits={"acse_timeout": timedelta(seconds=1), "dimse_timeout": timedelta(minutes=5)})
    with socket.create_connection(("127.0.0.1", running.port)) as slow:
        slow.sendall(b"\x01\x00\x00\x00\x10\x00")
        slow.settimeout(0.1)

        def closed() -> bool:
            try:
                slow.sendall(b"\0")
                return slow.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        until(closed, what="the listener closes the connection")
    until(lambda: running.events("intake.aborted"))
    assert "no association was requested within" in running.events("intake.aborted")[0].message


def test_a_pdu_of_four_gigabytes_is_not_waited_for(listen: Listen) -> None:
    running = listen()
    with socket.create_connection(("127.0.0.1", running.port)) as liar:
        liar.sendall(b"\x04\x00\xff\xff\xff\xff")
        liar.settimeout(20)
        assert liar.recv(1) == b""
    assert echoes(running.port, "WHYRAY")


def test_an_association_that_brings_several_classes_gets_each_its_own_context(listen: Listen) -> None:
    running = listen()
    contexts = tuple((f"1.2.840.10008.5.1.4.1.1.{number}", (ExplicitVRLittleEndian,)) for number in (2, 4, 7, 1))
    with running.sender(contexts=contexts) as sender:
        assert len(sender.accepted()) == 4
        assert sender.store(encode(small(1, sop_class=MRImageStorage)), uid("1", 1), MRImageStorage).Status == 0


def test_stopping_lets_an_open_association_finish_what_it_sends(listen: Listen) -> None:
    running = listen()
    sender = running.sender()
    stopping = threading.Thread(target=running.scp.stop, kwargs={"grace": 20.0})
    stopping.start()
    until(lambda: not _reachable(running.port))
    assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
    sender.association.release()
    stopping.join(timeout=20)
    assert not stopping.is_alive()
    assert len(running.instances()) == 1


def _reachable(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)):
            return True
    except OSError:
        return False
