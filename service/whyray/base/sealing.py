"""Encryption at rest: streams of bytes and short texts, sealed with a key that only the installation knows.

A stream is what Tink calls AES-GCM-HKDF streaming AEAD, in segments of 64 KiB, behind a head that names the key::

    'WHYRAYE1' (8 bytes) | key id (8) | Tink's header: 40, salt (32), nonce prefix (7) | segments

Each stream has a key of its own, HKDF-SHA256 of the installation's key, the salt and the head (as `info`). Segment i is
AES-256-GCM under the nonce: prefix, i as 4 bytes, and 1 if it is the last or 0; so none can be changed, moved, left out
or added without being noticed. Tink itself (tink-crypto.org, "Streaming AEAD wire format") reads what is written here,
which a test shows; it is not used at run time since its Python streams can't seek, and headers are read by seeking.
"""

from __future__ import annotations

import io
import os
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from whyray.base.errors import ConfigError, SealBroken

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"WHYRAYE1"
SEGMENT = 64 << 10
"""Bytes of a segment, its tag included."""
_KEY, _ID, _SALT, _PREFIX, _TAG, _NONCE = 32, 8, 32, 7, 16, 12
_HEAD = len(MAGIC) + _ID
_HEADER = 1 + _SALT + _PREFIX
START = _HEAD + _HEADER
"""Where the first segment begins."""
_FIRST = SEGMENT - _HEADER - _TAG
_OTHER = SEGMENT - _TAG
_MOST_SEGMENTS = 1 << 32


def parse_key(text: str, origin: str) -> bytes:
    """A key of 32 bytes, written as 64 hexadecimal digits. Raises ConfigError."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != _KEY:
        raise ConfigError(
            f"the key of encryption at rest from {origin} is not 64 hexadecimal digits",
            advice="Make one with `openssl rand -hex 32`, and keep a copy where the stored objects are not.",
        )
    return key


def key_id(key: bytes) -> bytes:
    """Eight bytes that name a key (32 bytes) and tell nothing of it: HKDF-SHA256 of it, always the same."""
    return _hkdf(key, _ID, None, b"whyray key id")


@dataclass(frozen=True)
class SealingKeys:
    """The key that seals, and those that sealed before: what they sealed can still be opened."""

    current: bytes = field(repr=False)
    former: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def current_id(self) -> str:
        """Names the current key, in hexadecimal."""
        return key_id(self.current).hex()

    @property
    def ids(self) -> frozenset[str]:
        """Name all keys."""
        return frozenset(key_id(key).hex() for key in (self.current, *self.former))

    def named(self, wanted: bytes) -> bytes:
        """The key with this id. Raises SealBroken."""
        for key in (self.current, *self.former):
            if key_id(key) == wanted:
                return key
        raise SealBroken(f"this was sealed with key {wanted.hex()}, which the configuration does not name")

    def seal_text(self, text: str, about: str) -> str:
        """Seal a short text that belongs to `about`, and to nothing else; as hexadecimal digits."""
        return self.seal_bytes(text.encode(), about).hex()

    def open_text(self, sealed: str, about: str) -> str:
        """What `seal_text` sealed. Raises SealBroken."""
        return self.open_bytes(bytes.fromhex(sealed), about).decode()

    def seal_bytes(self, content: bytes, about: str) -> bytes:
        """Seal a few bytes that belong to `about`, and to nothing else."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = _aes_gcm(_derived(self.current, nonce, b"whyray text")).encrypt(nonce, content, about.encode())
        return key_id(self.current) + nonce + sealed

    def open_bytes(self, data: bytes, about: str) -> bytes:
        """What `seal_bytes` sealed. Raises SealBroken."""
        from cryptography.exceptions import InvalidTag

        nonce = data[_ID : _ID + _NONCE]
        key = _derived(self.named(data[:_ID]), nonce, b"whyray text")
        try:
            return _aes_gcm(key).decrypt(nonce, data[_ID + _NONCE :], about.encode())
        except InvalidTag:
            raise SealBroken("a sealed text was changed, or belongs elsewhere") from None


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return _hkdf(key, _KEY, salt, info)


def _hkdf(key: bytes, length: int, salt: bytes | None, info: bytes) -> bytes:
    # a library of 14 MB that an installation without encryption has no use for; so below
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(hashes.SHA256(), length, salt, info).derive(key)


def _aes_gcm(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def is_sealed(beginning: bytes) -> bool:
    """Whether a stream that begins so is sealed."""
    return beginning.startswith(MAGIC)


def sealed_with(beginning: bytes) -> str | None:
    """The id of the key that sealed the stream that begins so (16 bytes are looked at); None where it is not sealed."""
    return beginning[len(MAGIC) : _HEAD].hex() if is_sealed(beginning) else None


class Sealer:
    """Seals one stream: what `update` and, once, `finish` give is to be written one after another."""

    def __init__(self, keys: SealingKeys) -> None:
        head = MAGIC + key_id(keys.current)
        salt, self.prefix = secrets.token_bytes(_SALT), secrets.token_bytes(_PREFIX)
        self.cipher = _aes_gcm(_derived(keys.current, salt, head))
        self.segments = 0
        """So many are sealed."""
        self.pending = bytearray()
        """What is not sealed yet: whether a segment is the last is known when more comes, or nothing."""
        self._out = bytearray(head + bytes([_HEADER]) + salt + self.prefix)

    def update(self, data: bytes | memoryview) -> bytes:
        """Take more; gives what can be written now."""
        rest = memoryview(data)
        while rest:
            room = _room(self.segments)
            if len(self.pending) == room:
                self._seal(last=False)
                continue
            taken = room - len(self.pending)
            self.pending += rest[:taken]
            rest = rest[taken:]
        return self._given()

    def finish(self) -> bytes:
        """The last that is to be written."""
        self._seal(last=True)
        return self._given()

    def _seal(self, *, last: bool) -> None:
        if self.segments >= _MOST_SEGMENTS:
            raise OverflowError("a sealed stream has 2**32 segments at most")
        self._out += self.cipher.encrypt(_nonce(self.prefix, self.segments, last), bytes(self.pending), None)
        self.segments += 1
        self.pending.clear()

    def _given(self) -> bytes:
        given = bytes(self._out)
        self._out.clear()
        return given


def _room(segment: int) -> int:
    return _FIRST if segment == 0 else _OTHER


def _nonce(prefix: bytes, segment: int, last: bool) -> bytes:
    return prefix + struct.pack(">IB", segment, last)


@dataclass(frozen=True)
class Unfinished:
    """Of a stream that is still being written: the cipher, how much is sealed, and what is not yet."""

    cipher: AESGCM
    prefix: bytes
    segments: int
    pending: bytes


class Unsealed(io.RawIOBase):
    """A sealed stream opened for reading and seeking; one segment at a time is in memory.

    Parameters
    ----------
    source
        The sealed bytes, which can seek; closed with this.
    unfinished
        Where the stream is still being written.

    Raises
    ------
    SealBroken
        When made, if no key fits; when read, if something was changed, cut off or added.
    """

    def __init__(self, source: BinaryIO, keys: SealingKeys, unfinished: Unfinished | None = None) -> None:
        super().__init__()
        self._source, self._position = source, 0
        self._held: tuple[int, bytes] = (-1, b"")
        self._pending: bytes | None = None if unfinished is None else unfinished.pending
        if unfinished is not None:
            self._cipher, self._prefix = unfinished.cipher, unfinished.prefix
            self._segments = unfinished.segments
            self.size = _begin(unfinished.segments) + len(unfinished.pending)
            return
        start = source.read(START)
        if len(start) < START or not is_sealed(start) or start[_HEAD] != _HEADER:
            raise SealBroken("a sealed stream has lost its beginning")
        head, salt = start[:_HEAD], start[_HEAD + 1 : _HEAD + 1 + _SALT]
        self._prefix = start[_HEAD + 1 + _SALT :]
        self._cipher = _aes_gcm(_derived(keys.named(head[len(MAGIC) :]), salt, head))
        # the first segment shares its 64 KiB with Tink's header
        sealed = source.seek(0, os.SEEK_END) - _HEAD
        self._segments = max(1, -(-sealed // SEGMENT))
        self.size = sealed - _HEADER - self._segments * _TAG

    @property
    def name(self) -> str:
        """What is said of it; it has no path under which others could open it."""
        return "sealed stream"

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins, in bytes of what was sealed."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill the buffer as far as one segment goes."""
        if self._position >= self.size:
            if self._pending is None and self.size <= 0:
                self._segment(0)  # an empty stream too has its seal
            return 0
        number = 0 if self._position < _FIRST else 1 + (self._position - _FIRST) // _OTHER
        within = self._position - _begin(number)
        piece = self._segment(number)[within : within + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _segment(self, number: int) -> bytes:
        from cryptography.exceptions import InvalidTag

        if self._pending is not None and number == self._segments:
            return self._pending
        if self._held[0] != number:
            start = START if number == 0 else _HEAD + number * SEGMENT
            self._source.seek(start)
            sealed = self._source.read(_room(number) + _TAG)
            last = self._pending is None and number == self._segments - 1
            try:
                opened = self._cipher.decrypt(_nonce(self._prefix, number, last), sealed, None)
            except InvalidTag:
                raise SealBroken("sealed bytes were changed, cut off or added to") from None
            self._held = (number, opened)
        return self._held[1]

    def close(self) -> None:
        """Close the source too."""
        if not self.closed:
            self._source.close()
        super().close()


def _begin(segment: int) -> int:
    """The position in the plain stream where a segment begins."""
    return 0 if segment == 0 else _FIRST + (segment - 1) * _OTHER


def unsealed(source: BinaryIO, keys: SealingKeys) -> BinaryIO:
    """A sealed stream as a file; see `Unsealed`."""
    return io.BufferedReader(Unsealed(source, keys), buffer_size=SEGMENT)


def pieces(file: BinaryIO, size: int = 1 << 20) -> Iterator[bytes]:
    """What is left of a file, piece by piece."""
    while piece := file.read(size):
        yield piece
