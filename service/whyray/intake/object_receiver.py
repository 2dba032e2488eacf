"""DIMSE messages of one association (PS3.7): data sets of C-STORE requests go from the socket's buffer into storage.

pynetdicom can write data sets to files too (`_config.STORE_RECV_CHUNKED_DATASET`), but for the whole process, into the
system's temporary folder, and an error while writing aborts the association. Here it is one listener's own business,
the file lies where it will stay, and an error becomes a status. C-STORE is served without pynetdicom's messages, whose
making costs more than the disk, and on the thread that reads, so that no other is woken; all other services are
pynetdicom's.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from whyray.intake.association_request import Unreadable
from whyray.intake.command_set import Command, read_command, store_response
from whyray.intake.incoming_instance import Begin, IncomingInstance
from whyray.intake.transfers import IncomingTransfer

_COMMAND, _LAST = 1, 2
_LONGEST_COMMAND = 64 << 10
_LENGTH = struct.Struct(">I")
_ITEM = struct.Struct(">IBB")
"""Length, presentation context and message control header of a Presentation Data Value (PS3.8 table 9-23, annex E)."""
_P_DATA, _PDU = 4, struct.Struct(">BxI")
"""Type and length of a P-DATA-TF PDU."""
_ESTABLISHED = "Sta6"


@dataclass(frozen=True)
class ArrivedInstance:
    """A C-STORE request (PS3.7 section 9.3.1.1) of which everything is here."""

    message_id: int
    sop_class_uid: str
    """The presentation context's, with which it is answered."""
    sop_instance_uid: str
    incoming: IncomingInstance | None
    """None where no data set came."""


Store = Callable[[Any, ArrivedInstance], tuple[int, str]]
"""(association, what arrived) → Status and Error Comment (PS3.7 annex C) of the response."""


class ObjectReceiver(DIMSEServiceProvider):  # type: ignore[misc]
    """The DIMSE provider of one association, which sends the data sets of C-STORE requests to storage as they come.

    `fault` is told why a message can't be received; the association ends then.
    """

    def __init__(self, assoc: Any, begin: Begin, store: Store, fault: Callable[[str], None]) -> None:
        super().__init__(assoc)
        self.study_uids: set[str] = set()
        self.transfer: IncomingTransfer | None = None
        self.arrived: deque[tuple[int, ArrivedInstance]] = deque()
        """What waits to be served, by presentation context."""
        self.storing = False
        """Whether an instance is being served: the peer waits for us, and is not silent."""
        self._begin, self._store, self._fault = begin, store, fault
        self._encoded_command = bytearray()
        self._arriving: ArrivedInstance | None = None
        self._expects_data_set = False
        self._over = False
        self._sending = threading.Lock()

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one P-DATA of pynetdicom's."""
        for context_id, fragment in primitive.presentation_data_value_list:
            if not fragment:
                self._give_up("a fragment of a message without its control header")
                return
            self._receive(context_id, fragment[0], memoryview(fragment)[1:])
        self.serve_arrived()

    def receive_values(self, body: memoryview) -> None:
        """Take the Presentation Data Values of one P-DATA-TF PDU (PS3.8 section 9.3.5), whose first 6 bytes are off.

        Raises
        ------
        Unreadable
            If they don't fill the PDU.
        """
        position, end = 0, len(body)
        while position < end:
            if position + 5 > end:
                raise Unreadable("a P-DATA-TF PDU that ends within a value can't be read")
            (length,) = _LENGTH.unpack_from(body, position)
            if position + _LENGTH.size + length > end or not length:
                raise Unreadable("a P-DATA-TF PDU can't be read: a value is longer than what holds it")
            if length == 1:
                self._give_up("a fragment of a message without its control header")
                return
            _, context_id, control = _ITEM.unpack_from(body, position)
            item_end = position + _LENGTH.size + length
            self._receive(context_id, control, body[position + _ITEM.size : item_end])
            position = item_end

    def _give_up(self, words: str) -> None:
        if not self._over:
            self._over = True
            self._fault(words)
            self.dul.event_queue.put("Evt19")

    def _receive(self, context_id: int, control: int, content: memoryview) -> None:
        """Take one fragment; pynetdicom looks at one at a time, so that none after a last one is lost."""
        if self._over:
            return
        try:
            if bool(control & _COMMAND) == self._expects_data_set:
                came = "a command" if self._expects_data_set else "a data set without a command"
                wanted = "its data set" if self._expects_data_set else "a command"
                raise Unreadable(f"{came} came where {wanted} was expected")
            context = self.assoc._accepted_cx.get(context_id)
            if context is None:
                raise Unreadable(f"a message in the presentation context {context_id}, which was not accepted")
            if control & _COMMAND:
                self._take_command(context_id, context, control, content)
            else:
                self._take_data(context_id, control, content)
        except Unreadable as error:
            self._give_up(str(error))

    def _take_data(self, context_id: int, control: int, content: memoryview) -> None:
        if control & _LAST:
            self._expects_data_set = False
        arriving = self._arriving
        if arriving is None:
            super().receive_primitive(_one(context_id, bytes([control]) + content))
            return
        if arriving.incoming is not None:
            arriving.incoming.write(content)
        if control & _LAST:
            self._arriving = None
            self.arrived.append((context_id, arriving))

    def _take_command(self, context_id: int, context: Any, control: int, content: memoryview) -> None:
        self._encoded_command += content
        if len(self._encoded_command) > _LONGEST_COMMAND:
            raise Unreadable("a command set that is too long")
        if not control & _LAST:
            return
        encoded, self._encoded_command = bytes(self._encoded_command), bytearray()
        command = read_command(encoded, str(context.abstract_syntax))
        self._expects_data_set = command.has_data_set
        if not command.is_store:
            super().receive_primitive(_one(context_id, bytes([_COMMAND | _LAST]) + command.encoded()))
            return
        arriving = self._begun(command, str(context.transfer_syntax[0]))
        if command.has_data_set:
            self._arriving = arriving
        else:
            self.arrived.append((context_id, arriving))

    def _begun(self, command: Command, transfer_syntax_uid: str) -> ArrivedInstance:
        incoming = None
        if command.has_data_set:
            incoming = self._begin(*command.named, transfer_syntax_uid, str(self.assoc.requestor.ae_title).strip())
            if command.refused is not None:
                incoming.refuse(command.refused)
        return ArrivedInstance(command.message_id, command.sop_class_uid, command.sop_instance_uid, incoming)

    def serve_arrived(self) -> None:
        """Keep and answer what is whole, in the upper layer's thread: the peer sends no more until it is answered."""
        while self.arrived:
            context_id, arrived = self.arrived.popleft()
            self.storing = True
            status, comment = self._store(self.assoc, arrived)
            self.dul._idle_timer.restart()
            self.storing = False
            if self.dul.state_machine.current_state == _ESTABLISHED and self.dul.socket is not None:
                response = store_response(
                    arrived.message_id, arrived.sop_class_uid, arrived.sop_instance_uid, status, comment
                )
                self._answer(context_id, response)

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """See pynetdicom's; no other message gets between the fragments of this one (PS3.8 annex E)."""
        with self._sending:
            super().send_msg(primitive, context_id)

    def _answer(self, context_id: int, command: bytes) -> None:
        """Send a command set, behind what waits to be sent."""
        fragments = self._fragments(command)
        with self._sending:
            if not self.dul.to_provider_queue.empty():
                for control, fragment in fragments:
                    self.dul.send_pdu(_one(context_id, bytes([control]) + fragment))
                return
        pdus = []
        for control, fragment in fragments:
            pdus += [
                _PDU.pack(_P_DATA, _ITEM.size + len(fragment)),
                _ITEM.pack(len(fragment) + 2, context_id, control),
                fragment,
            ]
        # the upper layer's thread is here, and takes nothing from that queue meanwhile
        self.dul.socket.send(b"".join(pdus))

    def _fragments(self, command: bytes) -> list[tuple[int, bytes]]:
        """Message control header and bytes of each P-DATA-TF PDU that the peer's maximum length asks for."""
        room = max(1, self.maximum_pdu_size - _ITEM.size) if self.maximum_pdu_size else len(command)
        return [
            (_COMMAND | (_LAST if position + room >= len(command) else 0), command[position : position + room])
            for position in range(0, len(command), room)
        ]

    def connection_closed(self) -> None:
        """Remove the data set that the peer did not finish."""
        arriving, self._arriving = self._arriving, None
        if arriving is not None and arriving.incoming is not None:
            with suppress(OSError):
                arriving.incoming.close()

    def association_ended(self) -> None:
        """Remove what came and was not served: nobody will be answered."""
        while self.arrived:
            incoming = self.arrived.popleft()[1].incoming
            if incoming is not None:
                with suppress(OSError):
                    incoming.close()


def _one(context_id: int, fragment: bytes) -> P_DATA:
    one = P_DATA()
    one.presentation_data_value_list.append((context_id, fragment))
    return one
