"""Whom WhyRay calls: the destinations of results, and how patiently each is called again."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from whyray.base.tls import client_context
from whyray.config.base import Section
from whyray.config.network import TRANSFER_SYNTAXES, DicomSyntax, Host, WebSyntax
from whyray.config.secrets import SecretValue
from whyray.config.services import Login, WebUrl
from whyray.config.values import AETitle, Count, Duration, FolderPath, Port, Size


class CallerTls(Section):
    """How to call by TLS. Files are read for each association."""

    authorities: FolderPath | None = None
    """PEM file of the authorities to trust instead of the system's."""
    certificate: FolderPath | None = None
    """PEM file of the certificate chain to show, where the peer asks for one."""
    key: FolderPath | None = None
    """PEM file of its private key, where it is not in the same file."""
    revoked: FolderPath | None = None
    """PEM file of revocation lists of the authorities."""
    check_host: bool = True
    """The certificate must name `host`."""

    def context(self) -> ssl.SSLContext:
        """What a caller needs, from the files as they are now. Raises ConfigError."""
        return client_context(
            authorities=self.authorities,
            certificate=self.certificate,
            key=self.key,
            revoked=self.revoked,
            check_host=self.check_host,
        )


class Retry(Section):
    """How often and how patiently a retriable failure is tried again; permanent ones are not."""

    attempts: Count = 200
    """Attempts in all: 200 of them last two days. Then the work is marked failed and waits for an administrator."""
    delay: Duration = timedelta(seconds=10)
    """Wait before the second attempt."""
    multiplier: Annotated[float, Field(ge=1, le=10)] = 2.0
    """Each further wait is so many times longer."""
    ceiling: Duration = timedelta(minutes=15)
    """No wait is longer than this."""

    def wait(self, attempts: int) -> timedelta:
        """The wait after so many failed attempts (≥ 1)."""
        # Beyond 2**64 the ceiling holds anyway; a larger exponent would overflow a float.
        factor = self.multiplier ** min(attempts - 1, 19)
        return min(self.delay * factor, self.ceiling)


class AssociationTimeouts(Section):
    """Time-outs of one association out."""

    connect: Duration = timedelta(seconds=10)
    """For the TCP connection."""
    acse: Duration = timedelta(seconds=30)
    """For the answer to the association request."""
    dimse: Duration = timedelta(minutes=2)
    """For the answer to each message."""


class DicomPeer(Section):
    """An AE that WhyRay calls."""

    ae_title: AETitle
    """Called AE title of the peer."""
    host: Host
    """Its IP address or host name."""
    port: Port = 104
    """Its TCP port."""
    calling_ae_title: AETitle | None = None
    """AE title that WhyRay calls itself; the listener's where left out."""
    max_pdu: Size = 128 * 1024
    """Largest PDU that WhyRay accepts from it; 0B means no limit."""
    timeouts: AssociationTimeouts = AssociationTimeouts()
    """Time-outs."""
    tls: CallerTls | None = None
    """Call it by TLS; plain where left out."""


class Informed(DicomPeer):
    """An AE, e.g. of the RIS, that is told when all results of a job have arrived at the destination."""

    retrieve_ae_title: AETitle | None = None
    """AE title from which it can retrieve the results; the destination's where left out, needed beside `url`."""


class DicomDestination(DicomPeer):
    """A destination that is reached by C-STORE."""

    model_config = ConfigDict(title="by C-STORE")

    storage_commitment: bool = False
    """Ask the peer to commit to keeping what it received (Storage Commitment Push Model, PS3.4 annex J)."""
    commitment_within: Duration = timedelta(hours=1)
    """How long to wait for the commitment before sending again."""
    transfer_syntaxes: Annotated[tuple[DicomSyntax, ...], Field(min_length=1)] = (
        TRANSFER_SYNTAXES["JPEGLSLossless"],
        TRANSFER_SYNTAXES["RLELossless"],
        TRANSFER_SYNTAXES["DeflatedExplicitVRLittleEndian"],
        TRANSFER_SYNTAXES["ExplicitVRLittleEndian"],
        TRANSFER_SYNTAXES["ImplicitVRLittleEndian"],
    )
    """What to propose, preferred first: for pages (sc, cine) JPEGLSLossless, JPEG2000Lossless, RLELossless; for seg and
    pm DeflatedExplicitVRLittleEndian; for everything ExplicitVRLittleEndian and ImplicitVRLittleEndian. A result goes
    in the first that the peer accepts; nothing is lost by any of them."""
    associations: Count = 1
    """Associations to it at the same time."""
    retry: Retry = Retry()
    """What to do after a failure that may pass."""
    announce_to: Informed | None = None
    """Tell this AE by Instance Availability Notification (PS3.4 annex R) when a job's results have all arrived, and are
    committed to where `storage_commitment` is on; nobody is told where left out."""

    @property
    def kind(self) -> Literal["dicom"]:
        """Which kind of destination this is."""
        return "dicom"


class DicomWebDestination(Section):
    """A destination that is reached by STOW-RS."""

    model_config = ConfigDict(title="by STOW-RS")

    url: WebUrl
    """Base URL of the DICOMweb service; `/studies` is appended."""
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
    timeout: Duration = timedelta(minutes=2)
    """For each request."""
    transfer_syntaxes: Annotated[tuple[WebSyntax, ...], Field(min_length=1)] = (
        TRANSFER_SYNTAXES["JPEGLSLossless"],
        TRANSFER_SYNTAXES["ExplicitVRLittleEndian"],
    )
    """Preferred first: for pages (sc, cine) JPEGLSLossless, JPEG2000Lossless, RLELossless; for seg and pm
    DeflatedExplicitVRLittleEndian; for everything ExplicitVRLittleEndian. What the service refuses compressed is sent
    uncompressed."""
    retry: Retry = Retry()
    """What to do after a failure that may pass."""
    announce_to: Informed | None = None
    """Tell this AE by Instance Availability Notification (PS3.4 annex R) when a job's results have all arrived; nobody
    is told where left out."""

    @property
    def kind(self) -> Literal["dicomweb"]:
        """Which kind of destination this is."""
        return "dicomweb"

    @model_validator(mode="after")
    def _one_way_in(self) -> DicomWebDestination:
        if self.token is not None and self.login is not None:
            raise PydanticCustomError("destination", "token and login exclude each other")
        if self.key is not None and self.certificate is None:
            raise PydanticCustomError("destination", "a key needs the certificate that it belongs to")
        return self

    @model_validator(mode="after")
    def _retrievable(self) -> DicomWebDestination:
        # Retrieve AE Title is type 1 in PS3.4 table R.3.2-1, and a URL has none
        if self.announce_to is not None and self.announce_to.retrieve_ae_title is None:
            raise PydanticCustomError(
                "destination",
                "announce_to needs retrieve_ae_title: the AE from which results that went to a URL can be retrieved",
                {"suggestion": "e.g. retrieve_ae_title: ARCHIVE"},
            )
        return self


def _destination_kind(value: object) -> str:
    if isinstance(value, DicomWebDestination) or (isinstance(value, Mapping) and "url" in value):
        return "dicomweb"
    return "dicom"


Destination = Annotated[
    Annotated[DicomDestination, Tag("dicom")] | Annotated[DicomWebDestination, Tag("dicomweb")],
    Discriminator(_destination_kind),
]
