"""Where traces go: spans of jobs and deliveries for a collector of OpenTelemetry."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from whyray.config.base import Section
from whyray.config.secrets import SecretValue
from whyray.config.services import WebUrl
from whyray.config.values import FolderPath


class Tracing(Section):
    """Spans of jobs, stage by stage, and of deliveries, by OTLP (OpenTelemetry) over HTTP; needs `whyray[tracing]`.

    They hold ids of jobs, and names of routes, packages, methods and destinations; nothing of patients or studies.
    """

    endpoint: WebUrl | None = None
    """Where the collector takes traces, e.g. http://127.0.0.1:4318/v1/traces; nothing is sent where left out."""
    headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")], SecretValue] = Field(default_factory=dict)
    """Headers of each request, such as Authorization: their values from the environment or a file."""
    authorities: FolderPath | None = None
    """PEM file of the authorities to trust instead of the system's."""
    service: Annotated[str, Field(min_length=1, max_length=64)] = "whyray"
    """The name under which spans are kept (`service.name`)."""

    @model_validator(mode="after")
    def _libraries_are_there(self) -> Tracing:
        if self.endpoint is not None and find_spec("opentelemetry") is None:
            raise PydanticCustomError(
                "libraries", "the libraries of OpenTelemetry are not installed: pip install 'whyray[tracing]'"
            )
        return self
