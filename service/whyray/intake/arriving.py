"""The data set of a C-STORE request on its way from the socket into storage, never whole in memory.

pynetdicom can do the like (`_config.STORE_RECV_CHUNKED_DATASET`), but for the whole process, into the system's
temporary folder, and an error while writing aborts the association. Here it is one listener's own business, the file
lies where it will stay, and an error becomes a status.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from whyray.errors import ResourceExhausted
from whyray.intake.part10 import file_header
from whyray.intake.refusals import Refused, disk_low, not_writable, too_large
from whyray.storage import Storage, Stored, Writer

_COMMAND, _LAST = 1, 2


class Arriving:
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

    @property
    def path(self) -> Path:
        """The file as far as it is written; its data set begins at byte `start`."""
        assert self._writer is not None
        return self._writer.path

    @property
    def name(self) -> str:
        """The file's path; empty where there is none."""
        return str(self._writer.path) if self._writer else ""

    @property
    def file(self) -> Arriving:
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

    def commit(self) -> Stored:
        """Make it durable; see `Writer.commit`."""
        assert self._writer is not None
        return self._writer.commit()

    def close(self) -> None:
        """Remove what was not committed."""
        if self._writer is not None:
            self._writer.discard()


Begin = Callable[[str, str, str, str], Arriving]
"""(SOP class, SOP instance, transfer syntax, calling AE) → where its data set goes."""


class ObjectReceiver(DIMSEServiceProvider):  # type: ignore[misc]
    """The DIMSE provider of one association, which sends the data sets of C-STORE requests to storage as they come."""

    def __init__(self, assoc: Any, begin: Begin) -> None:
        super().__init__(assoc)
        self.study_uids: set[str] = set()
        self._begin = begin
        self._arriving: Arriving | None = None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one P-DATA; pynetdicom looks at one fragment at a time, so that none after a last one is lost."""
        for context_id, fragment in primitive.presentation_data_value_list:
            one = P_DATA()
            one.presentation_data_value_list.append((context_id, fragment))
            if not fragment[0] & _COMMAND and fragment[0] & _LAST and self._arriving is not None:
                self._arriving.complete = True
                self._arriving = None
            super().receive_primitive(one)
            message = self.message
            if isinstance(message, C_STORE_RQ) and message._data_set_file is None:
                message._data_set_file = self._arriving = self._begin_data_set(context_id, message.command_set)

    def _begin_data_set(self, context_id: int, command: Any) -> Arriving:
        context = self.assoc._accepted_cx[context_id]
        return self._begin(
            str(command.get("AffectedSOPClassUID") or ""),
            str(command.get("AffectedSOPInstanceUID") or ""),
            str(context.transfer_syntax[0]),
            str(self.assoc.requestor.ae_title).strip(),
        )

    def connection_closed(self) -> None:
        """Remove the data set that the peer did not finish."""
        if self._arriving is not None:
            with suppress(OSError):
                self._arriving.close()
            self._arriving = None


def arrived(request: C_STORE) -> Arriving | None:
    """The data set of this request; None where the peer sent none."""
    found = getattr(request, "_dataset_file", None)
    return found if isinstance(found, Arriving) else None
