"""A receiver of audit messages for tests: syslog by TLS, each message checked against RFC 5424 and PS3.15's schema."""

from __future__ import annotations

import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

from certificates import Authority
from whyray.config import CallerTls, Syslog

SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).parent / "audit_message.rng"))
_HEADER = re.compile(
    rb"<85>1 (?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<host>[!-~]{1,255}) whyray (?P<process>\d{1,128}) "
    rb'DICOM\+RFC3881 \[meta sequenceId="(?P<number>\d+)"\]\[origin software="WhyRay" swVersion="[^"\]\\]+"\] '
    rb"\xef\xbb\xbf(?P<content><AuditMessage>.*</AuditMessage>)",
    re.DOTALL,
)


def checked(content: bytes) -> etree._Element:
    """The message, which has to be one by the standard's schema."""
    message = etree.fromstring(content)
    SCHEMA.assertValid(message)
    return message


@dataclass(frozen=True)
class Heard:
    """One message that came."""

    number: int
    message: etree._Element

    @property
    def event(self) -> str:
        """The EventID's code."""
        return str(self.message.find("EventIdentification/EventID").get("csd-code"))


@dataclass
class AuditRepository:
    """Listens on a port of its own; what is no message by the standards is a fault."""

    authority: Authority
    heard: list[Heard] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def settings(self) -> Syslog:
        """How to send here."""
        certificate, key = self.authority.signs("whyray")
        tls = CallerTls(authorities=self.authority.file, certificate=certificate, key=key)
        return Syslog(host="127.0.0.1", port=self.port, tls=tls)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take messages; on the same port when entered again."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.authority.signs("repository"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.authority.file)
        open_now: list[socket.socket] = []
        repository = self

        class Connection(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    with context.wrap_socket(self.request, server_side=True) as link:
                        open_now.append(link)
                        repository._read(link)
                except OSError:  # a client that trusts nobody here, or is stopped
                    return

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True

        with Server(("127.0.0.1", self.port), Connection) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()
                for link in open_now:
                    link.close()

    def _read(self, link: ssl.SSLSocket) -> None:
        waiting = b""
        while piece := link.recv(1 << 16):
            waiting += piece
            while counted := re.match(rb"([1-9]\d*) ", waiting):
                start, length = counted.end(), int(counted[1])
                if len(waiting) < start + length:
                    break
                self._take(waiting[start : start + length])
                waiting = waiting[start + length :]

    def _take(self, syslog: bytes) -> None:
        match = _HEADER.fullmatch(syslog)
        if match is None:
            self.faults.append(f"no syslog message of an audit: {syslog[:200]!r}")
            return
        try:
            self.heard.append(Heard(int(match["number"]), checked(match["content"])))
        except (etree.XMLSyntaxError, etree.DocumentInvalid) as error:
            self.faults.append(str(error))
