"""The audit trail: where its messages go."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from whyray.config.base import Section
from whyray.config.destinations import CallerTls
from whyray.config.network import Host
from whyray.config.values import Port


class Syslog(Section):
    """A receiver of DICOM audit messages by syslog (RFC 5424), e.g. an IHE Audit Record Repository."""

    host: Host
    """Its IP address or host name."""
    port: Port = 6514
    """Its port; 6514 is the one registered for syslog by TLS."""
    transport: Literal["tls", "tcp", "udp"] = "tls"
    """By TLS (RFC 5425), plain TCP (RFC 6587), or UDP (RFC 5426), of which nobody knows whether it arrives."""
    tls: CallerTls = CallerTls()
    """Whom to trust, and which certificate to show."""

    @model_validator(mode="after")
    def _certificates_by_tls_alone(self) -> Syslog:
        if self.transport != "tls" and "tls" in self.model_fields_set:
            raise PydanticCustomError("tls", "`tls` needs `transport: tls`")
        return self


class Audit(Section):
    """Who saw and did what is kept in the catalog, always, and sent as DICOM audit messages (PS3.15 A.5) from here."""

    syslog: Syslog | None = None
    """Where to send to; nowhere where left out."""
    source: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Audit Source ID of this installation; the listener's AE title where left out."""
    site: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Audit Enterprise Site ID."""
