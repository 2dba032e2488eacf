"""What the admin endpoint shows of the site, and the actions that it is given from other rooms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from whyray.base.disk_space import DiskSpace
from whyray.base.errors import StorageUnavailable
from whyray.config import AllOf, Config, DicomDestination, DicomWebDestination, Route, format_duration


class ResultStore(Protocol):
    """Where the bytes of results and pictures live."""

    def open(self, key: str) -> BinaryIO:
        """The bytes under `key`, for reading. Raises NotFound if there are none."""
        ...

    def hindrance(self) -> StorageUnavailable | None:
        """Why nothing can be read from it and written to it now; None where both can."""
        ...

    def free_bytes(self) -> int:
        """How many bytes can still be written; raises StorageUnavailable where it is away."""
        ...

    def disk_space(self) -> DiskSpace | None:
        """What its file system can still take; None where it is on none of this machine's."""
        ...


@dataclass(frozen=True)
class RouteInfo:
    """One route as an administrator sees it. `when` and `complete` are in words."""

    name: str
    when: str
    complete: str
    packages: tuple[str, ...]
    priority: str
    explain: tuple[str, ...]
    send_to: tuple[str, ...]
    send_as: tuple[str, ...]
    dry_run: bool
    enabled: bool


@dataclass(frozen=True)
class DestinationInfo:
    """One destination. `address` is for people and carries no credentials."""

    name: str
    kind: Literal["dicom", "dicomweb"]
    address: str
    storage_commitment: bool = False


@dataclass(frozen=True)
class PackageInfo:
    """One installed package. `card` is the model card as Markdown text; `problem` says why it can't be used."""

    name: str
    version: str
    title: str
    task: str
    tier: str
    targets: tuple[str, ...]
    digest: str
    licence: str
    intended_use: str
    card: str
    problem: str | None = None


@dataclass(frozen=True)
class ParameterInfo:
    """A parameter of a method and its default, as it is written in a configuration."""

    name: str
    default: str


@dataclass(frozen=True)
class PackageMethod:
    """Whether a package (NAME@VERSION) can be explained by a method; if not, why and what to do."""

    package: str
    possible: bool
    why_not: str | None = None
    advice: str | None = None


@dataclass(frozen=True)
class MethodInfo:
    """One explanation method. `says` is the first sentence of `doc`; `kind` its type of interpretability."""

    name: str
    kind: str
    tier: str
    says: str
    doc: str
    tasks: tuple[str, ...]
    unit: str
    signed: bool
    stochastic: bool
    deliverable: bool
    parameters: tuple[ParameterInfo, ...]
    packages: tuple[PackageMethod, ...]


@dataclass(frozen=True)
class Site:
    """The configuration in force, as far as the admin endpoint shows it."""

    routes: tuple[RouteInfo, ...] = ()
    destinations: tuple[DestinationInfo, ...] = ()
    min_free_disk: int = 0
    """Free bytes of storage below which instances are refused."""


def site_of(config: Config) -> Site:
    """What the admin endpoint shows of the configuration."""
    return Site(
        routes=tuple(_route(route) for route in config.routes),
        destinations=tuple(_destination(name, destination) for name, destination in config.destinations.items()),
        min_free_disk=config.listener.limits.min_free_disk,
    )


def _route(route: Route) -> RouteInfo:
    complete = route.complete
    words = [
        f"quiet for {format_duration(complete.quiet_for)}",
        *(["or association release"] if complete.on_release else []),
        f"at most {format_duration(complete.at_most)}, then {complete.if_incomplete}",
    ]
    study = str(route.study)
    return RouteInfo(
        name=route.name,
        when=str(route.when) + (f"; study: {study}" if route.study != AllOf() else ""),
        complete=", ".join(words),
        packages=tuple(str(package) for package in route.run),
        priority=route.priority,
        explain=tuple(method.name for method in route.explain),
        send_to=route.send.to if route.send is not None else (),
        send_as=route.send.kinds if route.send is not None else (),
        dry_run=route.dry_run,
        enabled=route.enabled,
    )


def _destination(name: str, destination: DicomDestination | DicomWebDestination) -> DestinationInfo:
    if isinstance(destination, DicomDestination):
        address = f"{destination.ae_title}@{destination.host}:{destination.port}"
        return DestinationInfo(name, "dicom", address, destination.storage_commitment)
    return DestinationInfo(name, "dicomweb", destination.url)


@dataclass(frozen=True)
class ClauseVerdict:
    """One clause of a route: its words, whether it held, and what was found (never who the patient is)."""

    clause: str
    held: bool
    value: str


@dataclass(frozen=True)
class RouteVerdict:
    """What one route says about one series, clause by clause."""

    route: str
    series_instance_uid: str
    matches: bool
    clauses: tuple[ClauseVerdict, ...]


@dataclass(frozen=True)
class EchoOutcome:
    """The answer of a destination to C-ECHO (or to a DICOMweb request)."""

    ok: bool
    milliseconds: float
    message: str
    advice: str | None = None


@dataclass(frozen=True)
class Actions:
    """What other rooms can do for an administrator; None where this process was started without it.

    Attributes
    ----------
    route_test
        Takes DICOM files and says what each route makes of them. Raises WhyRayError for what is no DICOM file.
    echo
        Asks the destination of that name whether it is there.
    packages
        Lists the installed packages.
    methods
        Lists the explanation methods, with what each package lacks for them.
    kinds
        By method: its type of interpretability, in the order of the types.
    """

    route_test: Callable[[Sequence[Path]], Sequence[RouteVerdict]] | None = None
    echo: Callable[[str], EchoOutcome] | None = None
    packages: Callable[[], Sequence[PackageInfo]] | None = None
    methods: Callable[[], Sequence[MethodInfo]] | None = None
    kinds: Callable[[], Mapping[str, str]] | None = None
