"""Sections about the installation itself: where things lie, who works, who may look."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from whyray.config.base import Section
from whyray.config.network import Host, Retry, is_loopback
from whyray.config.secrets import SecretUrl, SecretValue
from whyray.config.services import Login, WebTls
from whyray.config.values import Count, Duration, FolderPath, Port, Size


class Storage(Section):
    """Where the bytes of instances and results lie."""

    folder: FolderPath | None = None
    """Folder; `instances` in the state folder where left out."""


class Catalog(Section):
    """Where studies, jobs, results and deliveries are written down."""

    url: SecretUrl | None = None
    """SQLAlchemy URL, e.g. postgresql+psycopg://host/whyray; a SQLite file in the state folder where left out."""


class Queue(Section):
    """The broker that wakes workers."""

    url: SecretUrl | None = None
    """Redis URL, e.g. redis://host:6379/0; a Redis of WhyRay's own in the state folder where left out."""


class AdminLogin(Login):
    """Who may log in to the page, and as what."""

    role: Literal["administrator", "reader"] = "administrator"
    """An administrator sees everything; a reader the reader studies in which this name has a place, nothing else."""


class Admin(Section):
    """HTTP API and web page."""

    address: Host = "127.0.0.1"
    """Local address to listen on. Any other than this machine's own needs a token or logins."""
    port: Port = 8080
    """TCP port."""
    token: SecretValue | None = None
    """Bearer token for the API."""
    logins: tuple[AdminLogin, ...] = ()
    """Who may log in to the page."""
    tls: WebTls | None = None
    """HTTPS; plain where left out."""
    proxies: tuple[Host, ...] = ()
    """Addresses of proxies in front of it, whose X-Forwarded-For and X-Forwarded-Proto are believed; no one else's."""

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Admin:
        if not self.token and not self.logins and not is_loopback(self.address):
            raise PydanticCustomError(
                "admin",
                "the admin page would be open to everybody who reaches {address}",
                {"address": self.address, "suggestion": "give it a token or logins, or address: 127.0.0.1"},
            )
        users = [login.user for login in self.logins]
        if len(set(users)) != len(users):
            raise PydanticCustomError("admin", "a user is named twice in logins")
        return self


class Retention(Section):
    """How long things are kept. Nothing goes that is not yet worked on, delivered, or committed to where asked."""

    source: Duration = timedelta(days=7)
    """Instances received, counted from the last one and from the end of the study's last job."""
    results: Duration = timedelta(days=30)
    """Results, counted from the end of their job and from their delivery."""
    events: Duration = timedelta(days=365)
    """Events, and the numbers that drift is told by."""
    purge_below: Size = 0
    """While less than this is free for storage, instances of finished studies go before their time, oldest first."""


class Packages(Section):
    """Where model packages are looked for."""

    folders: tuple[FolderPath, ...] = ()
    """Folders that hold NAME/VERSION/, searched in this order before the packages that come with WhyRay."""
    artefacts: FolderPath | None = None
    """Folder of the site's own reference artefacts (`whyray package index`); `artefacts` in the state folder where left
    out."""


class Templates(Section):
    """A site's own wording and layouts."""

    folder: FolderPath | None = None
    """Folder whose files override those that come with WhyRay."""


class Workers(Section):
    """Who computes on this machine."""

    count: Count = 1
    """Worker processes; one for each GPU, or one for a machine without."""
    device: Literal["cpu", "cuda"] = "cpu"
    """With cuda, a worker that can't load CUDA refuses to start."""
    threads: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Threads of each worker; all cores shared among the workers where left out."""
    memory: Annotated[Size, Field(ge=1 << 30)] | None = None
    """What the process of a worker's jobs may hold; a job that takes more is ended. Four fifths of the machine's
    memory, shared among the workers, where left out."""
    retry: Retry = Retry(attempts=5, delay=timedelta(seconds=30), ceiling=timedelta(minutes=15))
    """What to do after a job's failure that may pass."""
