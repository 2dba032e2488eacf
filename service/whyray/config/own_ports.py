"""Ports of WhyRay's own services that another of them has too: on one machine only one of the two could be opened.

Services of one role are on one machine always. Intake and admin may have one each, or a container each, and one file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from whyray.config.network import DicomWebListener, Listener, ListenerTls
from whyray.config.own_listener import overlap
from whyray.config.problems import Place
from whyray.config.site import Admin


@dataclass(frozen=True)
class _Service:
    """One of WhyRay's own, and where it listens. `written`: whether its port is none that it has by itself."""

    name: str
    role: str
    place: Place
    address: str
    port: int
    written: bool


@dataclass(frozen=True)
class SharedPort:
    """A port that two services have; `place` is where the file gives it to one, the latter where it does to both."""

    place: Place
    port: int
    service: str
    other: str
    suggestion: str

    @property
    def message(self) -> str:
        """What is the matter, in words."""
        return f"port '{self.port}' of {self.service} is that of {self.other} too"


def shared_within_a_role(data: Mapping[str, object]) -> Iterator[SharedPort]:
    """Each pair of services of one role on one port of addresses that overlap.

    Whatever has another type than it should is passed over: it is told of as such.
    """
    return _shared(data, within_a_role=True)


def shared_between_roles(data: Mapping[str, object]) -> Iterator[SharedPort]:
    """Each such pair of services of different roles, which only roles on one machine can't both open."""
    return _shared(data, within_a_role=False)


def _shared(data: Mapping[str, object], *, within_a_role: bool) -> Iterator[SharedPort]:
    for one, other in combinations(_services(data), 2):
        if (one.role == other.role) is not within_a_role:
            continue
        if one.port != other.port or not overlap(one.address, other.address):
            continue
        told, beside = (one, other) if one.written and not other.written else (other, one)
        suggestion = f"give one of them another port, e.g. {'.'.join(map(str, told.place))}: {_free(data, told.port)}"
        yield SharedPort(told.place, told.port, told.name, beside.name, suggestion)


def _services(data: Mapping[str, object]) -> list[_Service]:
    listener, admin = _section(data.get("listener")), _section(data.get("admin"))
    tls, web = listener.get("tls"), listener.get("dicomweb")
    address = _address(listener, Listener)
    services = []
    if _section(tls).get("only") is not True:
        services.append(_service("the DICOM listener", "intake", ("listener",), listener, Listener, address))
    if isinstance(tls, Mapping):
        services.append(_service("the DICOM listener's TLS", "intake", ("listener", "tls"), tls, ListenerTls, address))
    if isinstance(web, Mapping):
        services.append(
            _service(
                "STOW-RS", "intake", ("listener", "dicomweb"), web, DicomWebListener, _address(web, DicomWebListener)
            )
        )
    services.append(_service("the admin page", "admin", ("admin",), admin, Admin, _address(admin, Admin)))
    return [service for service in services if service is not None]


def _service(
    name: str,
    role: str,
    place: Place,
    section: Mapping[str, object],
    kind: type[Listener | ListenerTls | DicomWebListener | Admin],
    address: object,
) -> _Service | None:
    usual = kind.model_fields["port"].default
    port = section.get("port", usual)
    if not isinstance(port, int) or not isinstance(address, str):
        return None
    return _Service(name, role, (*place, "port"), address, port, port != usual)


def _address(section: Mapping[str, object], kind: type[Listener | DicomWebListener | Admin]) -> object:
    return section.get("address", kind.model_fields["address"].default)


def _free(data: Mapping[str, object], port: int) -> int:
    taken = {service.port for service in _services(data)}
    free = port
    while free in taken:
        free = free % 65535 + 1
    return free


def _section(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
