"""The listener: who may call WhyRay; and the addresses and transfer syntaxes that sections about the network name."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydicom.uid import UID_dictionary

from whyray.base.tls import Renewed, client_context, server_context
from whyray.config.base import OneOrMore, Section
from whyray.config.problems import nearest
from whyray.config.secrets import SecretValue
from whyray.config.services import DicomWebTls
from whyray.config.values import AETitle, Count, Duration, FolderPath, Port, Size
from whyray.config.worklists import Orders

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_DIGITS_AND_DOTS = re.compile(r"[\d.]+(/\d*)?", re.ASCII)
ANY_ADDRESS = "any"
_SHORTEST_TOKEN = 16

TRANSFER_SYNTAXES: Mapping[str, str] = {
    entry[4]: uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax" and entry[4]
}
"""{keyword: UID} of all transfer syntaxes in PS3.6 table A-1."""


COMPRESSED = ("JPEG2000Lossless", "JPEGLSLossless", "RLELossless", "DeflatedExplicitVRLittleEndian")
"""Keywords of the transfer syntaxes that results can be compressed to.

JPEG 2000 makes the smallest pages and is not among the defaults: an Orthanc without its GDCM plugin takes it and can't
show it.
"""


def _check_address(address: str) -> str:
    if address == ANY_ADDRESS:
        return address
    try:
        return str(ipaddress.ip_network(address)) if "/" in address else str(ipaddress.ip_address(address))
    except ValueError as error:
        if "/" in address or ":" in address or _DIGITS_AND_DOTS.fullmatch(address) or not _HOST.fullmatch(address):
            raise PydanticCustomError(
                "address",
                "not an address: {reason}",
                {
                    "reason": str(error),
                    "suggestion": "write an IP address, a network such as 10.0.0.0/24, a host name, or any",
                },
            ) from None
        return address


def _check_host(host: str) -> str:
    if host == ANY_ADDRESS or "/" in host:
        raise PydanticCustomError("address", "one host is needed here: an IP address or a host name")
    return _check_address(host)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_peer(value: object) -> object:
    return {"address": value} if isinstance(value, str | list) else value


def _transfer_syntax(name: str) -> str:
    uid = TRANSFER_SYNTAXES.get(name, name)
    if uid not in TRANSFER_SYNTAXES.values():
        near = nearest(name, TRANSFER_SYNTAXES)
        raise PydanticCustomError(
            "transfer_syntax",
            "not a transfer syntax",
            {"suggestion": f"did you mean '{near}'?" if near else "e.g. ExplicitVRLittleEndian, JPEG2000Lossless"},
        )
    return uid


def _sendable(keywords: tuple[str, ...]) -> Callable[[str], str]:
    def check(name: str) -> str:
        uid = _transfer_syntax(name)
        if uid not in {TRANSFER_SYNTAXES[keyword] for keyword in keywords}:
            raise PydanticCustomError(
                "transfer_syntax",
                "results can't be sent in this transfer syntax",
                {"suggestion": f"what can be named here: {', '.join(keywords)}"},
            )
        return uid

    return check


Address = Annotated[str, AfterValidator(_check_address)]
Host = Annotated[str, AfterValidator(_check_host), WithJsonSchema({"type": "string", "title": "host"})]
_SYNTAX_SCHEMA = WithJsonSchema({"type": "string", "title": "transfer syntax"})
DicomSyntax = Annotated[
    str, AfterValidator(_sendable(("ExplicitVRLittleEndian", "ImplicitVRLittleEndian", *COMPRESSED))), _SYNTAX_SCHEMA
]
# PS3.18 section 8.7.3.5.2: Implicit VR is not for the web
WebSyntax = Annotated[str, AfterValidator(_sendable(("ExplicitVRLittleEndian", *COMPRESSED))), _SYNTAX_SCHEMA]


class ListenerTls(Section):
    """DICOM over TLS 1.2 or 1.3 (PS3.15 annex B.9), on a port of its own. Files are read anew when they change."""

    port: Port = 2762
    """TCP port; 2762 is the one registered for it."""
    certificate: FolderPath
    """PEM file of the certificate chain, own certificate first."""
    key: FolderPath
    """PEM file of its private key."""
    authorities: FolderPath | None = None
    """PEM file of the authorities whose certificates peers must show; without it peers show none."""
    revoked: FolderPath | None = None
    """PEM file of revocation lists of these authorities."""
    only: bool = False
    """Don't listen on the plain port."""

    def context(self) -> Renewed:
        """What gives each connection its context. Raises ConfigError."""
        return Renewed(
            lambda: server_context(self.certificate, self.key, authorities=self.authorities, revoked=self.revoked),
            (self.certificate, self.key, self.authorities, self.revoked),
        )

    def client_context(self) -> ssl.SSLContext:
        """What WhyRay calls a peer with that has to come by TLS itself. Raises ConfigError."""
        return client_context(
            authorities=self.authorities, certificate=self.certificate, key=self.key, revoked=self.revoked
        )

    @model_validator(mode="after")
    def _lists_of_somebody(self) -> ListenerTls:
        if self.revoked is not None and self.authorities is None:
            raise PydanticCustomError("tls", "`revoked` needs `authorities`: no certificate is asked for without them")
        return self


class Peer(Section):
    """One AE that may open associations; `PACS_MAIN: 10.0.0.5` is short for `PACS_MAIN: {address: 10.0.0.5}`."""

    address: Annotated[
        tuple[Address, ...], BeforeValidator(_as_list, json_schema_input_type=OneOrMore[str]), Field(min_length=1)
    ]
    """Where it may call from: an IP address, a network (10.0.0.0/24), a host name, `any`, or a list of these."""
    port: Port | None = None
    """TCP port on which it listens at the first of these addresses, if it wants storage commitment reported there."""
    tls: bool = False
    """It has to come by TLS."""

    @model_validator(mode="after")
    def _reachable(self) -> Peer:
        if self.port is not None and (self.address[0] == ANY_ADDRESS or "/" in self.address[0]):
            raise PydanticCustomError("address", "with a port, the first address is that of one host")
        return self

    @property
    def named_address(self) -> bool:
        """Whether it may not call from just anywhere."""
        return ANY_ADDRESS not in self.address

    def admits(self, address: str, resolve: Callable[[str], frozenset[str]] = lambda _: frozenset()) -> bool:
        """Whether a connection from this IP address may be this peer.

        `resolve` gives the IP addresses of a host name (an empty set if it has none now); host names admit nothing
        without it.
        """
        caller = _ip(address)
        for allowed in self.address:
            if allowed == ANY_ADDRESS:
                return True
            try:
                network = ipaddress.ip_network(allowed)
            except ValueError:
                if any(_ip(address) == caller for address in resolve(allowed)):
                    return True
                continue
            if caller.version == network.version and caller in network:
                return True
        return False


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    # A dual-stack socket reports IPv4 callers as ::ffff:10.0.0.5.
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed


def is_loopback(host: str) -> bool:
    """Whether only this machine itself reaches this local address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class DicomWebListener(Section):
    """STOW-RS beside C-STORE: POST to /dicom-web/studies. Beyond this machine, give it `tls`, or a proxy in front."""

    address: Host = "127.0.0.1"
    """Local address to listen on. Any other than this machine's own needs `tokens` or `api_tokens`."""
    port: Port = 8081
    """TCP port."""
    tokens: dict[AETitle, SecretValue] = Field(default_factory=dict)
    """Who may send: a name of your choice, shown as the calling AE → its bearer token. Without any, and without
    `api_tokens`, only clients on this machine may. Re-read while running."""
    api_tokens: bool = False
    """Who has an API token with the scope `stow` (`whyray account token add`) may send too, under the token's name;
    nobody without a token. Re-read while running."""
    worklist: Orders | None = None
    """WhyRay's own UPS-RS worklist at /dicom-web/workitems, into which others put work for it; off where left out."""
    tls: DicomWebTls | None = None
    """HTTPS; plain where left out."""

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> DicomWebListener:
        if self.open_to_this_machine and not is_loopback(self.address):
            raise PydanticCustomError(
                "dicomweb",
                "everybody who reaches {address} could send",
                {"address": self.address, "suggestion": "give it tokens, api_tokens: true, or address: 127.0.0.1"},
            )
        for name, token in self.tokens.items():
            # an empty one was not read: the file is checked without its secrets
            if 0 < len(token.reveal()) < _SHORTEST_TOKEN:
                raise PydanticCustomError(
                    "dicomweb",
                    "the token of {name} has fewer than {least} characters",
                    {"name": name, "least": _SHORTEST_TOKEN, "suggestion": "make one with `openssl rand -hex 32`"},
                )
        return self

    @property
    def open_to_this_machine(self) -> bool:
        """Whether clients on this very machine need no token."""
        return not self.tokens and not self.api_tokens


class ListenerLimits(Section):
    """What the listener bears before it says 'later' or aborts."""

    max_associations: Count = 50
    """Associations at the same time; one more is rejected as 'local limit exceeded'."""
    max_per_address: Count | None = None
    """Of these from one address; three quarters of `max_associations` where left out."""
    max_per_ae_title: Count | None = None
    """Of these from one calling AE title; three quarters of `max_associations` where left out."""
    reserved_for_peers: Annotated[int, Field(ge=0, strict=True)] | None = None
    """Of these kept for AE titles that `peers` names, where others are let in too; a fifth where left out."""
    max_pdu: Size = 128 * 1024
    """Largest PDU that is accepted; 0B means no limit."""
    acse_timeout: Duration = timedelta(seconds=30)
    """Longest wait for an association request or its end."""
    dimse_timeout: Duration = timedelta(seconds=60)
    """Longest wait for the rest of a message."""
    network_timeout: Duration = timedelta(minutes=5)
    """An association that is silent for so long is aborted."""
    max_instance_size: Size = 4 * 1024**3
    """A larger instance is refused with status A702 before it fills the disk."""
    min_free_disk: Size = 2 * 1024**3
    """Below this free space on the storage folder, instances are refused with status A700 ('out of resources')."""

    @property
    def of_an_address(self) -> int:
        """Associations that one address may have."""
        return self._share_of_one if self.max_per_address is None else self.max_per_address

    @property
    def of_an_ae_title(self) -> int:
        """Associations that one calling AE title may have."""
        return self._share_of_one if self.max_per_ae_title is None else self.max_per_ae_title

    @property
    def reserve(self) -> int:
        """Associations that AE titles which no peer has may not take."""
        return self.max_associations // 5 if self.reserved_for_peers is None else self.reserved_for_peers

    @property
    def _share_of_one(self) -> int:
        return -(-3 * self.max_associations // 4)


class Listener(Section):
    """The storage SCP: who may send what here."""

    ae_title: AETitle = "WHYRAY"
    """Called AE title; associations to any other are rejected."""
    address: Host = "0.0.0.0"  # nosec B104  # peers are let in by name and address
    """The local address to listen on: all of them by default, since only the peers named are let in."""
    port: Port = 11112
    """TCP port."""
    peers: dict[AETitle, Annotated[Peer, BeforeValidator(_as_peer, json_schema_input_type=Peer | OneOrMore[str])]] = (
        Field(default_factory=dict)
    )
    """Who may send: calling AE title → address. Re-read while running."""
    accept_unknown_peers: bool = False
    """Let in AE titles that `peers` doesn't name, from any address. Needs `address` to be written."""
    limits: ListenerLimits = ListenerLimits()
    """Limits and time-outs; re-read while running, for new associations."""
    corrected: Literal["use", "ask"] = "use"
    """What becomes of a study that its sender sends again under the same UIDs with another patient or order. `use`: it
    is taken into use without asking where that is beyond doubt (the whole study, from the same sender, with the same
    pixel data, the first time). `ask`: an administrator decides, as about all else that comes again."""
    processes: Count = 1
    """Processes that take instances in by DICOM, the one that listens among them, which alone serves STOW-RS. On two
    cores a second gains a tenth; try more where many associations come at once and cores are idle. Takes effect at the
    next start."""
    dicomweb: DicomWebListener | None = None
    """STOW-RS, by HTTP; off where left out."""
    tls: ListenerTls | None = None
    """DICOM over TLS; off where left out. Whether it is on, and `only`, take effect at the next start."""

    @property
    def receiving_processes(self) -> int:
        """Processes that serve associations beside the one that listens."""
        return self.processes - 1

    @model_validator(mode="after")
    def _openness_is_explicit(self) -> Listener:
        if self.accept_unknown_peers and "address" not in self.model_fields_set:
            raise PydanticCustomError(
                "listener",
                "accept_unknown_peers: true lets in everybody who reaches the port",
                {"suggestion": "write the address to listen on too, e.g. address: 127.0.0.1"},
            )
        return self
