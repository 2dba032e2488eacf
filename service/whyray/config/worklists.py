"""Sections about worklists: who asks for work by UPS-RS (PS3.18 section 11), and which route does it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from whyray.config.base import Section
from whyray.config.secrets import SecretValue
from whyray.config.services import Login, WebUrl
from whyray.config.values import Duration, FolderPath


class Task(Section):
    """One Scheduled Workitem Code, and the route that does what it asks for."""

    code: Annotated[str, Field(min_length=1, max_length=64)]
    """Its Code Value."""
    scheme: Annotated[str, Field(min_length=1, max_length=16)]
    """Its Coding Scheme Designator."""
    route: Annotated[str, Field(min_length=1)]
    """Name of the route whose packages, explanations and destinations are used. The images must meet its `when`."""


class Orders(Section):
    """Which workitems are taken, and where their images are fetched."""

    take: Annotated[tuple[Task, ...], Field(min_length=1)]
    """Workitem codes that WhyRay performs; all others are left to others."""
    images: str | None = None
    """Name of the destination (by STOW-RS) whose service gives images by WADO-RS. Images that are here already are not
    fetched; without a service, they have to be here."""

    @model_validator(mode="after")
    def _each_code_once(self) -> Orders:
        codes = [(task.code, task.scheme) for task in self.take]
        twice = [code for index, code in enumerate(codes) if code in codes[:index]]
        if twice:
            raise PydanticCustomError("worklist", "the code {code} is taken twice", {"code": "^".join(twice[0])})
        return self


class Worklist(Orders):
    """A UPS-RS service of somebody else, which WhyRay asks for work."""

    url: WebUrl
    """Base URL of the service; `/workitems` is appended."""
    token: SecretValue | None = None
    """Bearer token."""
    login: Login | None = None
    """HTTP basic authentication."""
    ca_file: FolderPath | None = None
    """PEM file of the authorities to trust instead of the system's."""
    certificate: FolderPath | None = None
    """PEM file of the certificate chain to show, where the service asks for one."""
    key: FolderPath | None = None
    """PEM file of its private key, where it is not in the same file."""
    timeout: Duration = timedelta(seconds=30)
    """For each request."""
    poll: Duration = timedelta(seconds=15)
    """How often to ask for scheduled workitems."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Worklist:
        if self.token is not None and self.login is not None:
            raise PydanticCustomError("worklist", "token and login exclude each other")
        if self.key is not None and self.certificate is None:
            raise PydanticCustomError("worklist", "a key needs the certificate that it belongs to")
        return self
