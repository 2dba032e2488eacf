"""Syslog messages (RFC 5424) and the way to who receives them: TLS (RFC 5425), TCP (RFC 6587) or UDP (RFC 5426)."""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import whyray
from whyray.base.errors import ConfigError, PeerUnreachable
from whyray.config import Syslog

_SECURITY, _NOTICE = 10, 5
"""Facility and severity that PS3.15 section A.6.1 names."""
_MESSAGE_ID = "DICOM+RFC3881"
_MOST_SEQUENCE = 2**31 - 1
_WITHIN = 10.0
_LOOK_AGAIN = 0.01


def syslog_message(content: bytes, *, at: datetime, host: str, process: str, number: int) -> bytes:
    """One message of RFC 5424 around an audit message; `number` is its record's, and its `sequenceId` (section 7.3)."""
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = (
        f'[meta sequenceId="{(number - 1) % _MOST_SEQUENCE + 1}"][origin software="WhyRay" '
        f'swVersion="{whyray.__version__}"]'
    )
    header = f"<{8 * _SECURITY + _NOTICE}>1 {moment} {_name(host)} whyray {_name(process)} {_MESSAGE_ID} {data} "
    return header.encode("ascii") + b"\xef\xbb\xbf" + content


def _name(text: str) -> str:
    printable = "".join(character for character in text if "!" <= character <= "~")
    return printable[:128] or "-"


class SyslogLink:
    """A connection to one receiver, opened when it is needed and again when it has broken."""

    def __init__(self, receiver: Syslog) -> None:
        self._receiver = receiver
        self._socket: socket.socket | None = None

    def send(self, messages: Sequence[bytes]) -> None:
        """Send; returns when the receiver's machine has acknowledged them, which UDP does not do.

        Syslog itself has no acknowledgement: what the receiver does with them is not known.

        Raises
        ------
        PeerUnreachable
            If there is no connection, or it breaks; which of the messages arrived is not known then.
        ConfigError
            If a certificate can't be used.
        """
        try:
            link = self._socket if self._socket is not None and _is_open(self._socket) else self._connect()
            for message in messages:
                if self._receiver.transport == "udp":
                    link.send(message)
                else:
                    link.sendall(f"{len(message)} ".encode("ascii") + message)
            if self._receiver.transport != "udp":
                _acknowledged(link)
        except OSError as error:  # ssl.SSLError is one
            self.close()
            where = f"{self._receiver.host}:{self._receiver.port}"
            raise PeerUnreachable(f"the audit receiver {where} can't be reached: {_reason(error)}") from error
        except ConfigError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        self.close()
        receiver = self._receiver
        if receiver.transport == "udp":
            resolved = socket.getaddrinfo(receiver.host, receiver.port, type=socket.SOCK_DGRAM)[0]
            link = socket.socket(resolved[0], resolved[1], resolved[2])
            link.connect(resolved[4])
        else:
            link = socket.create_connection((receiver.host, receiver.port), timeout=_WITHIN)
            if receiver.transport == "tls":
                try:
                    link = receiver.tls.context().wrap_socket(link, server_hostname=receiver.host)
                except BaseException:
                    link.close()
                    raise
        self._socket = link
        return link


def _is_open(link: socket.socket) -> bool:
    """Whether the receiver has not closed the connection: it never sends anything."""
    if link.type == socket.SOCK_DGRAM:
        return True
    link.settimeout(0)
    try:
        return bool(link.recv(1))
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    finally:
        link.settimeout(_WITHIN)


def _acknowledged(link: socket.socket) -> None:
    """Wait until the other machine has acknowledged every byte (TCP's own acknowledgement)."""
    deadline = time.monotonic() + _WITHIN
    while struct.unpack("i", fcntl.ioctl(link.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(_LOOK_AGAIN)
    if not _is_open(link):
        raise ConnectionResetError


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or type(error).__name__
