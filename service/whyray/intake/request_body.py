"""Bodies of STOW-RS requests (PS3.18 section 8.6), of one instance or several, as they come, gzipped or not."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from whyray.intake.multipart import MalformedBody, Parts

CONTENT_ENCODINGS = ("gzip", "x-gzip")
_PIECE = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS


class Body(Protocol):
    """Takes a body as it comes."""

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        ...

    def close(self) -> None:
        """The body has ended."""
        ...


class SinglePart:
    """A body that is one instance (PS3.18 section 8.6.1.1): `parts` is told of one part without headers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        parts.begin({})
        self._empty = True

    has_ended = False
    """Nothing in the body itself says so."""

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self._empty = self._empty and not piece
        self._parts.data(piece)

    def close(self) -> None:
        """The body has ended, and with it the instance.

        Raises
        ------
        MalformedBody
            If there was nothing in it.
        """
        if self._empty:
            raise MalformedBody("the body is empty")
        self._parts.end()


class GzipBody:
    """Decodes the content encoding gzip (RFC 1952, of one member or several) in steps of 1 MiB.

    Parameters
    ----------
    body
        Where the decoded body goes.
    wasted
        Gives how many of so many decoded bytes have not become part of an instance.
    most_wasted
        So many bytes may be decoded in vain; a few bytes can stand for a thousand times as many.
    """

    def __init__(self, body: Body, wasted: Callable[[int], int], most_wasted: int) -> None:
        self._body, self._wasted, self._most_wasted = body, wasted, most_wasted
        self._decoder = zlib.decompressobj(_GZIP)
        self._decoded = 0

    def feed(self, piece: bytes) -> None:
        """Decode the next piece and pass it on.

        Raises
        ------
        MalformedBody
            If it is not gzip, or more than `most_wasted` bytes have been decoded in vain.
        """
        for decoded in self._decode(piece):
            self._decoded += len(decoded)
            self._body.feed(decoded)
            if self._wasted(self._decoded) > self._most_wasted:
                raise MalformedBody("decoded, it holds more that is no instance than listener.limits.max_instance_size")

    def close(self) -> None:
        """The body has ended.

        Raises
        ------
        MalformedBody
            If the end of the gzip stream did not come.
        """
        if not self._decoder.eof:
            raise MalformedBody("the gzip stream is not whole")
        self._body.close()

    def _decode(self, piece: bytes) -> Iterator[bytes]:
        decoded = b""
        while piece or len(decoded) == _PIECE:  # a full step may have left more within the decoder
            if self._decoder.eof:
                self._decoder = zlib.decompressobj(_GZIP)
            try:
                decoded = self._decoder.decompress(piece, _PIECE)
            except zlib.error as error:
                raise MalformedBody("the body is not gzip, as its Content-Encoding says") from error
            yield decoded
            piece = self._decoder.unconsumed_tail or self._decoder.unused_data
