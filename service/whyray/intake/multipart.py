"""Multipart bodies (RFC 2046 section 5.1) taken apart as they come, in memory of one piece and one part's header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

_LONGEST_HEADER = 16 << 10
_LONGEST_BOUNDARY = 256  # RFC 2046 allows 70, but Orthanc's are longer
_LONGEST_PADDING = 256
_CRLF, _HEADER_END, _LAST = b"\r\n", b"\r\n\r\n", b"--"


class MalformedBody(ValueError):  # noqa: N818
    """The body breaks the rules of its media type or encoding. The message quotes nothing of it."""


class Parts(Protocol):
    """Where parts go: `begin`, then `data` as often as there is some, then `end`, if the part does end."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins; names of headers are in lower case."""
        ...

    def data(self, piece: bytes) -> None:
        """More of the part's body."""
        ...

    def end(self) -> None:
        """The boundary after the part was met."""
        ...


class MultipartReader:
    """Takes a body in pieces of any size and tells `parts` what is in it.

    Raises
    ------
    MalformedBody
        If the boundary is empty, longer than 256 characters or not ASCII.
    """

    def __init__(self, boundary: str, parts: Parts) -> None:
        if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii():
            raise MalformedBody("the boundary has no allowed form")
        self._delimiter = b"\r\n--" + boundary.encode()
        self._parts = parts
        self._held = bytearray(_CRLF)  # the first boundary has none before it
        self._step = self._preamble

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        Raises
        ------
        MalformedBody
            If the body breaks the rules; nothing may be fed after that.
        """
        self._held += piece
        while self._step():
            pass

    @property
    def has_ended(self) -> bool:
        """Whether the closing boundary has come: nothing that follows matters."""
        return self._step == self._epilogue

    def close(self) -> None:
        """The body has ended.

        Raises
        ------
        MalformedBody
            If its closing boundary did not come.
        """
        if not self.has_ended:
            raise MalformedBody("the closing boundary is missing")

    def _preamble(self) -> bool:
        position, whole = self._boundary()
        if position < 0:
            del self._held[:whole]
            return False
        del self._held[: position + len(self._delimiter)]
        self._step = self._after_boundary
        return True

    def _after_boundary(self) -> bool:
        if self._held.startswith(_LAST):
            self._step = self._epilogue
            return True
        # its CRLF may be the first half of what ends an empty header
        del self._held[: self._held.index(_CRLF)]
        self._step = self._header
        return True

    def _header(self) -> bool:
        end = self._held.find(_HEADER_END)
        if end < 0 or end > _LONGEST_HEADER:
            if len(self._held) > _LONGEST_HEADER:
                raise MalformedBody("a part's header is too long")
            return False
        lines = bytes(self._held[:end]).decode("latin-1").split("\r\n")
        del self._held[: end + len(_CRLF)]  # the second CRLF may belong to a boundary: a part without a body
        self._parts.begin(_headers(lines))
        self._step = self._body_begins
        return True

    def _body_begins(self) -> bool:
        if self._delimiter.startswith(bytes(self._held)):
            return False
        is_boundary = self._held.startswith(self._delimiter) and self._is_boundary(0)
        if is_boundary is None:
            return False
        if not is_boundary:
            del self._held[: len(_CRLF)]
        self._step = self._body
        return True

    def _boundary(self) -> tuple[int, int]:
        """Where the next boundary is, or -1; then, how many of the bytes held are before any that may become one."""
        start = 0
        while (position := self._held.find(self._delimiter, start)) >= 0:
            is_one = self._is_boundary(position)
            if is_one is not False:
                return (position if is_one else -1), position
            start = position + 1
        return -1, max(0, len(self._held) - len(self._delimiter) + 1)

    def _is_boundary(self, position: int) -> bool | None:
        """Whether the delimiter at this position is a line of its own; None as long as that can't be known.

        One that only begins a line is none: the boundary of a part that has parts itself may begin as its own.
        """
        behind = bytes(self._held[(end := position + len(self._delimiter)) : end + _LONGEST_PADDING])
        line = behind.lstrip(b" \t")
        if behind.startswith(_LAST) or line.startswith(_CRLF):
            return True
        more = len(behind) < _LONGEST_PADDING and (_CRLF.startswith(line) or _LAST.startswith(behind))
        return None if more else False

    def _body(self) -> bool:
        position, whole = self._boundary()
        if position < 0:
            if whole > 0:
                self._parts.data(bytes(self._held[:whole]))
                del self._held[:whole]
            return False
        if position:
            self._parts.data(bytes(self._held[:position]))
        del self._held[: position + len(self._delimiter)]
        self._parts.end()
        self._step = self._after_boundary
        return True

    def _epilogue(self) -> bool:
        self._held.clear()
        return False


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[:1] in (" ", "\t") and name:
            headers[name] += " " + line.strip()  # folded
        elif line:
            name, colon, value = line.partition(":")
            if not colon:
                raise MalformedBody("a line of a part's header has no colon")
            name = name.strip().lower()
            headers[name] = value.strip()
    return headers
