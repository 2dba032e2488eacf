"""Sections about the installation itself: where things lie, who works, who may look."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from whyray.base.roles import Role
from whyray.config.base import Section
from whyray.config.destinations import Retry
from whyray.config.encryption import Encryption
from whyray.config.network import Host, is_loopback
from whyray.config.secrets import SecretUrl, SecretValue
from whyray.config.services import Login, WebTls
from whyray.config.single_sign_on import Oidc
from whyray.config.values import Count, Duration, FolderPath, Port, Size


class Storage(Section):
    """Where the bytes of instances and results lie."""

    folder: FolderPath | None = None
    """Folder; `instances` in the state folder where left out."""
    encryption: Encryption | None = None
    """Encryption at rest; plain where left out."""


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

    role: Role = "administrator"
    """What it may do: see docs/security.md. A reader sees the reader studies in which this name has a place, nothing
    else."""


class Admin(Section):
    """HTTP API and web page. Accounts are made by `whyray account add`, not here."""

    address: Host = "127.0.0.1"
    """Local address to listen on."""
    port: Port = 8080
    """TCP port."""
    local_access: bool = False
    """Let in every program on this very machine as an administrator, without a log-in. Whoever else works on it, and
    whatever runs there, is let in too."""
    token: SecretValue | None = None
    """A bearer token with all an administrator's rights, from the environment or a file, for where secrets are given
    so. Better are those of `whyray account token add`: they have scopes and an end, and digests alone are kept."""
    logins: tuple[AdminLogin, ...] = ()
    """Log-ins whose passwords come from the environment or files, for where secrets are given so. Better are accounts
    (`whyray account add`): of their passwords hashes alone are kept."""
    oidc: Oidc | None = None
    """Single sign-on; none where left out."""
    tls: WebTls | None = None
    """HTTPS; plain where left out."""
    proxies: tuple[Host, ...] = ()
    """Addresses of proxies in front of it, whose X-Forwarded-For and X-Forwarded-Proto are believed; no one else's."""

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Admin:
        if self.local_access and not is_loopback(self.address):
            raise PydanticCustomError(
                "admin",
                "with local_access the admin page would be open to everybody who reaches {address}",
                {"address": self.address, "suggestion": "take local_access out, or write address: 127.0.0.1"},
            )
        if self.local_access and (self.token or self.logins or self.oidc):
            raise PydanticCustomError(
                "admin",
                "with local_access nobody on this machine needs to log in, and nobody else is let in",
                {"suggestion": "take local_access out, or token, logins and oidc"},
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
    """Threads of each worker, of ONNX Runtime and of torch. Where left out: all cores, or those of a container's
    CPU quota, divided among the workers of this machine."""
    memory: Annotated[Size, Field(ge=1 << 30)] | None = None
    """What the process of a worker's jobs may hold; a job that takes more is ended. Four fifths of the machine's
    memory, shared among the workers, where left out."""
    read_ahead: bool | None = None
    """Whether a worker reads the next job's study while one computes, and stores the last one's results: in a second
    process, which loads the models too, and ends a minute after the last job waited. Both keep to `memory` together;
    nothing bounds what both hold of a GPU's. Where left out: yes with `cpu`, no with `cuda`."""
    retry: Retry = Retry(attempts=5, delay=timedelta(seconds=30), ceiling=timedelta(minutes=15))
    """What to do after a job's failure that may pass."""

    @property
    def reads_ahead(self) -> bool:
        """`read_ahead`, or what holds where it is left out."""
        return self.device == "cpu" if self.read_ahead is None else self.read_ahead
