"""The data set of a C-STORE request on its way from the socket into storage, never whole in memory.

pynetdicom can do the like (`_config.STORE_RECV_CHUNKED_DATASET`), but for the whole process, into the system's
temporary folder, and an error while writing aborts the association. Here it is one listener's own business, the file
lies where it will stay, and an error becomes a status.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from whyray.base.errors import ResourceExhausted
from whyray.intake.association_request import Unreadable
from whyray.intake.command_set import STANDS_FOR_NONE, read_command
from whyray.intake.part10 import file_header
from whyray.intake.refusals import Refused, disk_low, not_writable, too_large
from whyray.intake.transfers import IncomingTransfer
from whyray.storage import Storage, Stored, Writer

_COMMAND, _LAST = 1, 2
_LONGEST_COMMAND = 64 << 10


class IncomingInstance:
    """One data set that is being received. `write` never raises: what goes wrong is kept as `refused`.

    `name`, `file`, `flush` and `close` are what pynetdicom expects of a file that it would have opened itself.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        calling_ae: str,
        largest: int,
        min_free: int,
    ) -> None:
        self.sop_class_uid, self.sop_instance_uid = sop_class_uid, sop_instance_uid
        self.transfer_syntax_uid = transfer_syntax_uid
        self.refused: Refused | None = None
        self.complete = False
        self._left = largest
        self._writer: Writer | None = None
        prefix = file_header(sop_class_uid, sop_instance_uid, transfer_syntax_uid, calling_ae)
        self.start = len(prefix)
        try:
            if storage.free_bytes() < min_free:
                self.refused = disk_low()
            else:
                self._writer = storage.writer(suffix=".dcm", prefix=prefix)
        except (ResourceExhausted, OSError) as error:
            self.refused = not_writable(str(error))

    def open(self) -> BinaryIO:
        """What is written so far, for reading; its data set begins at byte `start`."""
        assert self._writer is not None
        return self._writer.open()

    @property
    def name(self) -> str:
        """The file's path; empty where there is none."""
        return str(self._writer.path) if self._writer else ""

    @property
    def file(self) -> IncomingInstance:
        """The file below this file: the same."""
        return self

    def flush(self) -> None:
        """Nothing is held back."""

    def write(self, data: bytes) -> None:
        """Append a fragment, or let it go where the request will be refused."""
        if self.refused is not None or self._writer is None:
            return
        self._left -= len(data)
        try:
            if self._left < 0:
                self.refused = too_large()
            else:
                self._writer.write(data)
        except ResourceExhausted as error:
            self.refused = not_writable(str(error))
        if self.refused is not None:
            self._writer.discard()

    def refuse(self, refused: Refused) -> None:
        """Keep nothing of it, whatever still comes."""
        self.refused = self.refused or refused
        self.close()

    def commit(self) -> Stored:
        """Make it durable; see `Writer.commit`."""
        assert self._writer is not None
        return self._writer.commit()

    def close(self) -> None:
        """Remove what was not committed."""
        if self._writer is not None:
            self._writer.discard()


Begin = Callable[[str, str, str, str], IncomingInstance]
"""(SOP class, SOP instance, transfer syntax, calling AE) → where its data set goes."""


class ObjectReceiver(DIMSEServiceProvider):  # type: ignore[misc]
    """The DIMSE provider of one association, which sends the data sets of C-STORE requests to storage as they come.

    `fault` is told why a message can't be received; the association ends then.
    """

    def __init__(self, assoc: Any, begin: Begin, fault: Callable[[str], None]) -> None:
        super().__init__(assoc)
        self.study_uids: set[str] = set()
        self.transfer: IncomingTransfer | None = None
        self._begin = begin
        self._fault = fault
        self._encoded_command = bytearray()
        self._expects_data_set = False
        self._over = False
        self._incoming: IncomingInstance | None = None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one P-DATA; pynetdicom looks at one fragment at a time, so that none after a last one is lost."""
        for context_id, fragment in primitive.presentation_data_value_list:
            if self._over:
                return
            try:
                self._receive(context_id, bytes(fragment))
            except Unreadable as error:
                self._over = True
                self._fault(str(error))
                self.dul.event_queue.put("Evt19")

    def _receive(self, context_id: int, fragment: bytes) -> None:
        if not fragment:
            raise Unreadable("a fragment of a message without its control header")
        context = self.assoc._accepted_cx.get(context_id)
        if context is None:
            raise Unreadable(f"a message in the presentation context {context_id}, which was not accepted")
        if bool(fragment[0] & _COMMAND) == self._expects_data_set:
            came = "a command" if self._expects_data_set else "a data set without a command"
            raise Unreadable(
                f"{came} came where {'its data set' if self._expects_data_set else 'a command'} was expected"
            )
        if fragment[0] & _COMMAND:
            self._encoded_command += fragment[1:]
            if len(self._encoded_command) > _LONGEST_COMMAND:
                raise Unreadable("a command set that is too long")
            if fragment[0] & _LAST:
                self._take_command(context_id, context)
            return
        if fragment[0] & _LAST:
            self._expects_data_set = False
            if self._incoming is not None:
                self._incoming.complete = True
                self._incoming = None
        super().receive_primitive(_one(context_id, fragment))

    def _take_command(self, context_id: int, context: Any) -> None:
        encoded, self._encoded_command = bytes(self._encoded_command), bytearray()
        command = read_command(encoded, str(context.abstract_syntax))
        self._expects_data_set = command.has_data_set
        super().receive_primitive(_one(context_id, bytes([_COMMAND | _LAST]) + command.encoded()))
        message = self.message
        if isinstance(message, C_STORE_RQ) and message._data_set_file is None:
            message._data_set_file = self._incoming = self._begin(
                *command.named, str(context.transfer_syntax[0]), str(self.assoc.requestor.ae_title).strip()
            )
            if command.refused is not None:
                self._incoming.refuse(command.refused)

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Answer; a request that named no instance is answered without one."""
        if getattr(primitive, "AffectedSOPInstanceUID", None) == STANDS_FOR_NONE:
            primitive.AffectedSOPInstanceUID = None
        super().send_msg(primitive, context_id)

    def connection_closed(self) -> None:
        """Remove the data set that the peer did not finish."""
        if self._incoming is not None:
            with suppress(OSError):
                self._incoming.close()
            self._incoming = None


def _one(context_id: int, fragment: bytes) -> P_DATA:
    one = P_DATA()
    one.presentation_data_value_list.append((context_id, fragment))
    return one


def arrived(request: C_STORE) -> IncomingInstance | None:
    """The data set of this request; None where the peer sent none."""
    data_set = getattr(request, "_dataset_file", None)
    return data_set if isinstance(data_set, IncomingInstance) else None
