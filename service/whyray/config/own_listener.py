"""Whether an address in the configuration is WhyRay's own listener, as far as the file tells.

A name that DNS gives to this machine, or another of its addresses where all are listened on, can't be told from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from whyray.config.destinations import DicomPeer
from whyray.config.network import DicomWebListener, Listener, ListenerTls
from whyray.config.problems import Place

_AE_TITLE, _PORT, _ALL_ADDRESSES = (Listener.model_fields[key].default for key in ("ae_title", "port", "address"))
_TLS_PORT = ListenerTls.model_fields["port"].default
_WEB_ADDRESS, _WEB_PORT = (DicomWebListener.model_fields[key].default for key in ("address", "port"))
_PEER_PORT = DicomPeer.model_fields["port"].default
"""What the sections have where the file does not say."""
_PORTS_OF_SCHEMES = {"http": 80, "https": 443}


@dataclass(frozen=True)
class OwnAddress:
    """A place of the configuration that names WhyRay itself; `value` is what stands there.

    None of a URL, which is not told: somebody may have written a password into it.
    """

    place: Place
    value: object
    host: str
    port: int
    is_web: bool = False


def own_addresses(data: Mapping[str, object], destinations: Mapping[str, object]) -> Iterator[OwnAddress]:
    """Destinations, and those who are told of results, that are WhyRay's own listener or its own STOW-RS.

    Whatever has another type than it should is passed over: it is told of as such.
    """
    own = _section(data.get("listener"))
    for name, destination in destinations.items():
        if not isinstance(destination, Mapping):
            continue
        for place, peer in (
            ((str(name),), destination),
            ((str(name), "announce_to"), _section(destination.get("announce_to"))),
        ):
            host, port = peer.get("host"), peer.get("port", _PEER_PORT)
            if isinstance(host, str) and isinstance(port, int) and _is_listener(own, peer.get("ae_title"), host, port):
                yield OwnAddress(("destinations", *place, "port"), port, host, port)
        url = destination.get("url")
        address = _of_url(url) if isinstance(url, str) else None
        if address is not None and _is_web_listener(own, *address):
            yield OwnAddress(("destinations", str(name), "url"), None, *address, is_web=True)


def _is_listener(own: Mapping[str, object], title: object, host: str, port: int) -> bool:
    tls = own.get("tls")
    ports = [own.get("port", _PORT)] if _section(tls).get("only") is not True else []
    ports += [tls.get("port", _TLS_PORT)] if isinstance(tls, Mapping) else []
    address = own.get("address", _ALL_ADDRESSES)
    return (
        title == own.get("ae_title", _AE_TITLE)
        and port in ports
        and isinstance(address, str)
        and _leads_to(host, address)
    )


def _is_web_listener(own: Mapping[str, object], host: str, port: int) -> bool:
    web = own.get("dicomweb")
    if not isinstance(web, Mapping):
        return False
    address = web.get("address", _WEB_ADDRESS)
    return port == web.get("port", _WEB_PORT) and isinstance(address, str) and _leads_to(host, address)


def _leads_to(host: str, listened: str) -> bool:
    """Whether who calls `host` from this machine reaches what listens on the address `listened`."""
    called, here = _addresses(host), _addresses(listened)
    if not called or not here:  # names that DNS has to tell of
        return _plain(host) == _plain(listened)
    if any(address.is_unspecified for address in called):  # who calls all addresses calls this machine
        called = _addresses("localhost")
    if any(address.is_unspecified for address in here):
        return any(address.is_loopback for address in called)
    return not called.isdisjoint(here)


def overlap(one: str, other: str) -> bool:
    """Whether two local addresses to listen on can't both be listened on at one port.

    0.0.0.0 takes the port on all IPv4 addresses, and :: on all there are: a socket for it takes IPv4 too, unless told
    otherwise (RFC 3493 section 5.3), which no service of WhyRay does.
    """
    here, there = _addresses(one), _addresses(other)
    if not here or not there:  # names that DNS has to tell of
        return _plain(one) == _plain(other)
    return any(_both(address, beside) for address in here for beside in there)


def _both(one: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address) -> bool:
    """Whether sockets for these two addresses want one in common."""
    if IPv6Address("::") in (one, other):
        return True
    if one.is_unspecified or other.is_unspecified:
        return one.version == other.version
    return one == other


def _addresses(host: str) -> set[IPv4Address | IPv6Address]:
    """What a host is by itself; nothing where only DNS knows."""
    name = _plain(host)
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3
        return {IPv4Address("127.0.0.1"), IPv6Address("::1")}
    try:
        address = ip_address(name)
    except ValueError:
        return set()
    return {(address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address}


def _of_url(url: str) -> tuple[str, int] | None:
    """Host and port of a URL; None where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS_OF_SCHEMES.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def _plain(host: str) -> str:
    return host.casefold().rstrip(".")


def _section(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
