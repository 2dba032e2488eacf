"""A peer made of bytes: association requests, PDUs and command sets as no library would write them."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ACCEPTED, REJECTED, DATA, RELEASED, ABORTED = 2, 3, 4, 6, 7


def item(kind: int, value: bytes) -> bytes:
    """An item or sub-item of an A-ASSOCIATE PDU."""
    return struct.pack(">BxH", kind, len(value)) + value


def pdu(kind: int, body: bytes) -> bytes:
    """A PDU."""
    return struct.pack(">BxI", kind, len(body)) + body


def context(number: int = 1, abstract: bytes = CTImageStorage.encode(), *more: bytes) -> bytes:
    """A presentation context with one transfer syntax, and sub-items before and after it."""
    transfer = item(0x40, ExplicitVRLittleEndian.encode())
    return item(0x20, bytes([number, 0, 0, 0]) + item(0x30, abstract) + transfer + b"".join(more))


MAXIMUM = item(0x51, struct.pack(">I", 16384))
USER = (MAXIMUM, item(0x52, b"1.2.826.0.1"), item(0x55, b"RAW"))


@dataclass(frozen=True)
class Request:
    """An A-ASSOCIATE-RQ; what is not given is as it should be."""

    called: bytes = b"WHYRAY".ljust(16)
    calling: bytes = b"RAW".ljust(16)
    version: int = 1
    application: bytes = item(0x10, b"1.2.840.10008.3.1.1.1")
    contexts: tuple[bytes, ...] = (context(),)
    user: tuple[bytes, ...] = USER
    before: bytes = b""
    after: bytes = b""

    def encoded(self) -> bytes:
        """The PDU."""
        fixed = struct.pack(">HH", self.version, 0) + self.called + self.calling + bytes(32)
        user = item(0x50, b"".join(self.user)) if self.user else b""
        return pdu(1, fixed + self.before + self.application + b"".join(self.contexts) + user + self.after)


@dataclass
class RawPeer:
    """A connection to the listener."""

    port: int
    connection: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.connection.sendall(data)

    def answer(self) -> tuple[int, bytes]:
        """Type and body of the next PDU; type 0 where the connection is closed."""
        head = self._exactly(6)
        if len(head) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxI", head)
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            try:
                piece = self.connection.recv(count - len(got))
            except ConnectionResetError:
                return got
            if not piece:
                return got
            got += piece
        return got

    def associate(self, request: Request | None = None) -> tuple[int, bytes]:
        """Ask for an association."""
        self.send((request or Request()).encoded())
        return self.answer()

    def store(self, command: bytes, data: bytes, *, number: int = 1) -> int | None:
        """Send a C-STORE; the status of the answer, None where there is none."""
        self.send(pdu(4, value(command, 0x03, number)) + pdu(4, value(data, 0x02, number)))
        return self.status()

    def status(self) -> int | None:
        """The status of the next answer."""
        kind, body = self.answer()
        if kind != DATA:
            return None
        at = body.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
        return int(struct.unpack_from("<H", body, at)[0])

    def release(self) -> int:
        """End the association in good order."""
        self.send(pdu(5, bytes(4)))
        return self.answer()[0]


def results(accepted: bytes) -> dict[int, int]:
    """{presentation context: result} of an A-ASSOCIATE-AC."""
    position, contexts = 68, {}
    while position < len(accepted):
        kind, length = struct.unpack_from(">BxH", accepted, position)
        if kind == 0x21:
            contexts[accepted[position + 4]] = accepted[position + 6]
        position += 4 + length
    return contexts


def value(fragment: bytes, control: int, number: int = 1) -> bytes:
    """A presentation data value."""
    return struct.pack(">IBB", len(fragment) + 2, number, control) + fragment


def command(
    sop_class: bytes | None = CTImageStorage.encode() + b"\0",
    instance: bytes | None = b"1.2.3\0",
    **numbers: int | None,
) -> bytes:
    """A command set of C-STORE; None leaves an element out."""
    given = {"field": 1, "message": 7, "priority": 0, "data_set": 1, **numbers}
    tags = {"field": 0x0100, "message": 0x0110, "priority": 0x0700, "data_set": 0x0800}
    values: dict[int, bytes | None] = {0x0002: sop_class, 0x1000: instance}
    for name, tag in tags.items():
        number = given[name]
        values[tag] = None if number is None else struct.pack("<H", number)
    return elements(values)


def elements(values: dict[int, bytes | None]) -> bytes:
    """A command set of these elements, with its group length."""
    filled = {number: value for number, value in values.items() if value is not None}
    body = b"".join(struct.pack("<HHI", 0, n, len(filled[n])) + filled[n] for n in sorted(filled))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body
