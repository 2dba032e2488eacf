"""The whole configuration as one value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PrivateAttr, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from whyray.config.audit import Audit
from whyray.config.base import Section
from whyray.config.destinations import Destination
from whyray.config.lines import Document
from whyray.config.network import Listener
from whyray.config.problems import Place
from whyray.config.references import reference_faults
from whyray.config.routes import Otherwise, OtherwiseValue, Route
from whyray.config.site import Admin, Catalog, Packages, Queue, Retention, Storage, Templates, Workers
from whyray.config.tracing import Tracing
from whyray.config.values import FolderPath, UidRoot, parse_duration
from whyray.config.worklists import Worklist

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise PydanticCustomError("name", "a name is letters, digits, hyphens and underscores, 64 at most")
    return name


DestinationName = Annotated[str, AfterValidator(_check_name)]


class Config(Section):
    """All of `whyray.yaml`."""

    listener: Listener = Listener()
    """The storage SCP: who may send what here."""
    destinations: dict[DestinationName, Destination] = Field(default_factory=dict)
    """Who receives results: a name of your choice → an AE (host, port, ae_title) or a DICOMweb service (url)."""
    worklists: dict[DestinationName, Worklist] = Field(default_factory=dict)
    """Who is asked for work: a name of your choice → a UPS-RS service."""
    routes: tuple[Route, ...] = ()
    """Which series go to which packages; a series may match several routes."""
    otherwise: OtherwiseValue = Otherwise(parse_duration("24h"))
    """What becomes of a study that no route matched: `keep DURATION` or `discard`."""
    state: FolderPath = Field(default=Path("whyray-state"), validate_default=True)
    """Folder of everything that has no place of its own below; relative to the configuration file."""
    storage: Storage = Storage()
    """Where the bytes lie."""
    catalog: Catalog = Catalog()
    """Where the rows lie."""
    queue: Queue = Queue()
    """The broker."""
    admin: Admin = Admin()
    """HTTP API and web page."""
    audit: Audit = Audit()
    """Where the audit trail is sent."""
    tracing: Tracing = Tracing()
    """Where the time of jobs and deliveries is told of, for a collector of OpenTelemetry."""
    retention: Retention = Retention()
    """How long things are kept."""
    packages: Packages = Packages()
    """Where model packages are looked for."""
    templates: Templates = Templates()
    """A site's own wording and layouts."""
    workers: Workers = Workers()
    """Who computes."""
    uid_root: UidRoot | None = None
    """Root of the UIDs of results; UUID-derived UIDs (2.25) where left out."""

    _document: Document = PrivateAttr(default_factory=lambda: Document(None))

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        faults = [
            InitErrorDetails(
                type=PydanticCustomError(
                    "reference", "{reason}", {"reason": fault.message, "suggestion": fault.suggestion or ""}
                ),
                loc=fault.place,
                input=fault.value,
            )
            for fault in reference_faults(self.model_dump(by_alias=True))
        ]
        if faults:
            raise ValidationError.from_exception_data("Config", faults)
        return self

    def line(self, place: Place) -> int | None:
        """The line (1-based) of a place such as ('routes', 0, 'run'); None if this was not read from a file."""
        return self._document.line(place)

    def written(self, place: Place) -> Place:
        """The place as the file has it, or unchanged if this was not read from a file."""
        return self._document.written(place) if self._document.lines else place

    @property
    def text(self) -> str:
        """What the file says, as it was read; empty if it was not read from one. May hold secrets: never log it."""
        return self._document.text

    @property
    def artefact_folder(self) -> Path:
        """Where the site's reference artefacts lie: NAME/VERSION/KIND.npz."""
        return self.packages.artefacts or self.state / "artefacts"

    @property
    def storage_folder(self) -> Path:
        """Where bytes lie."""
        return self.storage.folder or self.state / "instances"

    @property
    def catalog_url(self) -> str:
        """SQLAlchemy URL of the catalog; may hold a password, so never log it."""
        if self.catalog.url is not None:
            return self.catalog.url.reveal()
        return f"sqlite:///{self.state / 'catalog.sqlite'}"

    @property
    def redis_url(self) -> str | None:
        """URL of the broker; None where the embedded one is meant. May hold a password, so never log it."""
        return self.queue.url.reveal() if self.queue.url is not None else None
