"""Messages of an association however a peer cuts them, and threads that sleep where nothing happens."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from queue import Queue
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.sop_class import StorageCommitmentPushModel
from sqlalchemy import select

from intake.conftest import Running
from intake.raw import ACCEPTED, RELEASED, RawPeer, command, value
from intake.scu import encode, small, uid
from peers import until
from whyray.catalog import Study
from whyray.intake.association_request import Unreadable
from whyray.intake.incoming_instance import IncomingInstance
from whyray.intake.object_receiver import ArrivedInstance, ObjectReceiver
from whyray.storage import FolderStorage

Listen = Callable[..., Running]
CLASS = CTImageStorage.encode() + b"\0" * (len(CTImageStorage) % 2)


@dataclass
class Received:
    """A receiver without a network, what it was given, and why it gave up."""

    storage: FolderStorage
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        context = SimpleNamespace(abstract_syntax=CTImageStorage, transfer_syntax=[ExplicitVRLittleEndian])
        association = SimpleNamespace(
            _accepted_cx={1: context, 3: context},
            dul=SimpleNamespace(event_queue=Queue()),
            dimse_timeout=1,
            requestor=SimpleNamespace(ae_title="PEER"),
        )
        self.receiver = ObjectReceiver(association, self._begin, lambda *_: (0, ""), self.faults.append)

    def _begin(self, sop_class: str, instance: str, syntax: str, calling: str) -> IncomingInstance:
        return IncomingInstance(
            self.storage,
            sop_class_uid=sop_class,
            sop_instance_uid=instance,
            transfer_syntax_uid=syntax,
            calling_ae=calling,
            largest=1 << 20,
            min_free=0,
        )

    def data_sets(self) -> list[tuple[int, int, bytes]]:
        """(presentation context, Message ID, data set) of each request, in the order in which they were complete."""
        given = []
        for context_id, arrived in self.receiver.arrived:
            assert arrived.incoming is not None
            with arrived.incoming.open() as file:
                file.seek(arrived.incoming.start)
                given.append((context_id, arrived.message_id, file.read()))
            arrived.incoming.close()
        return given


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> FolderStorage:
    return FolderStorage(tmp_path_factory.mktemp("messages"))


@st.composite
def cut(draw: st.DrawFn, content: bytes) -> list[bytes]:
    """The content in pieces, empty ones among them."""
    at = sorted(draw(st.lists(st.integers(0, len(content)), max_size=6)))
    return [content[begin:end] for begin, end in zip([0, *at], [*at, len(content)], strict=True)]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], list[tuple[int, int, bytes]]]:
    """Bodies of P-DATA-TF PDUs, and the requests that they hold."""
    values, wanted = [], []
    for number in range(draw(st.integers(1, 3))):
        context_id, data = draw(st.sampled_from([1, 3])), draw(st.binary(max_size=200))
        message = command(CLASS, uid("1", number).encode(), message=number)
        for content, kind in ((message, 1), (data, 0)):
            pieces = draw(cut(content))
            last = len(pieces) - 1
            values += [value(piece, kind | 2 * (i == last), context_id) for i, piece in enumerate(pieces)]
        wanted.append((context_id, number, data))
    bodies: list[bytes] = [b""]
    for one in values:
        if draw(st.booleans()):
            bodies.append(b"")
        bodies[-1] += one
    return bodies, wanted


@given(conversations())
@settings(max_examples=100, deadline=None)
def test_requests_arrive_whole_however_they_are_cut_into_values_and_pdus(
    folder: FolderStorage, conversation: tuple[list[bytes], list[tuple[int, int, bytes]]]
) -> None:
    bodies, wanted = conversation
    received = Received(folder)
    for body in bodies:
        received.receiver.receive_values(memoryview(body))
    assert received.faults == []
    assert received.data_sets() == wanted


@given(conversations(), st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_else_comes_is_a_fault_in_words_and_leaves_no_file(
    folder: FolderStorage, conversation: tuple[list[bytes], list[tuple[int, int, bytes]]], data: st.DataObject
) -> None:
    bodies = [bytearray(body) for body in conversation[0]]
    for body in bodies:
        for place in data.draw(st.lists(st.integers(0, max(0, len(body) - 1)), max_size=3)):
            body[place : place + 1] = data.draw(st.binary(max_size=2))
    received = Received(folder)
    for body in bodies:
        with suppress(Unreadable):
            received.receiver.receive_values(memoryview(bytes(body)))
    received.receiver.connection_closed()
    received.receiver.association_ended()
    assert not list((folder.root / "incoming").iterdir())


def test_an_answer_to_a_c_store_never_comes_between_the_fragments_of_another_message(folder: FolderStorage) -> None:
    received, queue, direct, storing = Received(folder), Queue[P_DATA](), list[bytes](), threading.Event()
    receiver = received.receiver
    receiver._store = lambda *_: storing.set() or (0, "")

    def send_pdu(primitive: P_DATA) -> None:
        queue.put(primitive)
        if queue.qsize() == 1:  # the peer's instance is whole while the report is being handed over
            serving.start()
            assert storing.wait(20)

    dul = SimpleNamespace(
        send_pdu=send_pdu,
        to_provider_queue=queue,
        _idle_timer=SimpleNamespace(restart=lambda: None),
        state_machine=SimpleNamespace(current_state="Sta6"),
        socket=SimpleNamespace(send=direct.append),
    )
    requestor = SimpleNamespace(maximum_length=64)
    receiver._assoc = SimpleNamespace(
        dul=dul, requestor=requestor, is_requestor=False, get_handlers=lambda _: [], is_acceptor=True
    )
    receiver.arrived.append((3, ArrivedInstance(7, CTImageStorage, uid("1", 1), None)))
    serving = threading.Thread(target=receiver.serve_arrived)
    report = N_EVENT_REPORT()
    report.MessageID, report.EventTypeID = 1, 1
    report.AffectedSOPClassUID, report.AffectedSOPInstanceUID = StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
    report.EventInformation = BytesIO(bytes(200))
    receiver.send_msg(report, 1)
    serving.join(20)
    contexts = [context_id for sent in list(queue.queue) for context_id, _ in sent.presentation_data_value_list]
    assert direct == []
    assert contexts == sorted(contexts), "the report's fragments, then those of the answer"
    assert set(contexts) == {1, 3}


def test_values_that_do_not_fill_the_pdu_are_told(folder: FolderStorage) -> None:
    for body in (b"\0\0", struct.pack(">I", 0) + b"x", struct.pack(">IBB", 9, 1, 3) + b"short"):
        with pytest.raises(Unreadable, match="can't be read"):
            Received(folder).receiver.receive_values(memoryview(body))


def switches() -> dict[int, int]:
    """How often each thread of this process has waited for something, by its number."""
    counts = {}
    for thread in threading.enumerate():
        if thread.native_id is not None:
            with suppress(OSError):
                status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
                counts[thread.native_id] = int(status.split("voluntary_ctxt_switches:")[1].split()[0])
    return counts


def test_an_association_on_which_nothing_happens_wakes_no_thread(listen: Listen) -> None:
    running = listen()
    others = set(switches())
    with RawPeer(running.port) as idle:
        assert idle.associate()[0] == ACCEPTED
        mine = set(switches()) - others
        assert len(mine) >= 2
        # both threads have gone to sleep when nothing has happened in them while others worked
        until(lambda: _unmoved(mine, running), what="threads that sleep")
        assert idle.store(command(CLASS, uid("1", 1).encode()), encode(small(1))) == 0
        assert idle.release() == RELEASED


def _unmoved(threads: set[int], running: Running) -> bool:
    before = switches()
    with RawPeer(running.port) as other:
        assert other.associate()[0] == ACCEPTED
        assert other.release() == RELEASED
    after = switches()
    there = threads & before.keys() & after.keys()  # one of an earlier test may have come, and ended
    return len(there) >= 2 and all(before[thread] == after[thread] for thread in there)


def test_an_association_outlives_a_clock_that_is_set(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    running = listen()
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 20_000)
        assert peer.store(command(CLASS, uid("1", 1).encode()), encode(small(1))) == 0
        assert peer.release() == RELEASED
    assert running.events("intake.aborted") == []


def test_a_silent_peer_is_given_up_in_time_though_the_clock_was_set_back_meanwhile(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = listen(limits={"network_timeout": timedelta(seconds=0.5)})
    now = time.time
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: now() + 20_000)
        peer = RawPeer(running.port)
        assert peer.associate()[0] == ACCEPTED
    with peer:
        until(lambda: running.scp.associations == 0, what="the end of the association")
        assert "silent" in running.events("intake.aborted")[0].message


def test_the_end_of_an_association_that_brought_something_is_told_once_the_catalog_knows(listen: Listen) -> None:
    known: list[bool] = []

    def on_release() -> None:
        with running.catalog.read() as session:
            known.append(all(study.released_at is not None for study in session.scalars(select(Study))))

    running = listen(on_release=on_release)
    with RawPeer(running.port) as nothing:
        assert nothing.associate()[0] == ACCEPTED
        assert nothing.release() == RELEASED
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        assert peer.store(command(CLASS, uid("1", 1).encode()), encode(small(1))) == 0
        assert known == []
        assert peer.release() == RELEASED
    until(lambda: known, what="the call")
    assert known == [True]
