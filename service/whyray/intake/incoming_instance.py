"""A data set on its way from a peer into storage, never whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from whyray.base.errors import ResourceExhausted
from whyray.intake.part10 import file_header
from whyray.intake.received_bytes import ReceivedBytes
from whyray.intake.refusals import Refused, disk_low, not_writable, too_large
from whyray.storage import Storage, Stored, Writer

_KEPT = 64 << 10
"""Bytes that stay in memory: what is asked of most instances is there, so that no file has to be read."""
_KEPT_OF_END = 1 << 10
"""The same of what follows on the pixels, as Data Set Trailing Padding does."""


class IncomingInstance:
    """One data set that is being received. `write` never raises: what goes wrong is kept as `refused`."""

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
        self._left = largest
        self._writer: Writer | None = None
        prefix = file_header(sop_class_uid, sop_instance_uid, transfer_syntax_uid, calling_ae)
        self.start = len(prefix)
        self._first, self._size = bytearray(prefix), len(prefix)
        self._last = b""
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

    @contextmanager
    def received(self) -> Iterator[ReceivedBytes]:
        """The same, whose first and last bytes need no file to be read."""
        received = ReceivedBytes(bytes(self._first), self._size, self.open, self._last)
        try:
            yield received
        finally:
            received.close()

    def write(self, data: bytes | memoryview) -> None:
        """Append a fragment, or let it go where the request will be refused."""
        if self.refused is not None or self._writer is None:
            return
        self._left -= len(data)
        try:
            if self._left < 0:
                self.refused = too_large()
            else:
                self._writer.write(data)
                self._size += len(data)
                if len(self._first) < _KEPT:
                    self._first += data[: _KEPT - len(self._first)]
                self._last = bytes(data[-_KEPT_OF_END:])
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
