"""What sections about services by HTTP share: their URL, and the log-in to them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from whyray.base.tls import Renewed, server_context
from whyray.config.base import Section
from whyray.config.secrets import SecretValue
from whyray.config.values import FolderPath

_WEB_URL = re.compile(r"https?://[^/@\s]+(/[^\s?#]*)?")


def _check_web_url(url: str) -> str:
    # 'secret' as the error's type keeps a password in the URL out of the message.
    if not _WEB_URL.fullmatch(url):
        raise PydanticCustomError("secret", "a URL such as https://host:8443/dicom-web is needed, without a password")
    return url.rstrip("/")


WebUrl = Annotated[str, AfterValidator(_check_web_url), WithJsonSchema({"type": "string", "format": "uri"})]


class WebTls(Section):
    """HTTPS by TLS 1.2 or 1.3. Files are read anew when they change."""

    certificate: FolderPath
    """PEM file of the certificate chain, own certificate first."""
    key: FolderPath
    """PEM file of its private key."""

    def context(self) -> Renewed:
        """What gives each connection its context. Raises ConfigError."""
        return Renewed(lambda: server_context(self.certificate, self.key), (self.certificate, self.key))


class DicomWebTls(WebTls):
    """HTTPS by TLS 1.2 or 1.3, with `authorities` for clients with certificates alone. Files are read anew when they
    change."""

    authorities: FolderPath | None = None
    """PEM file of the authorities whose certificates clients must show, beside their token; without it clients show
    none."""
    revoked: FolderPath | None = None
    """PEM file of revocation lists of these authorities."""

    def context(self) -> Renewed:
        """What gives each connection its context. Raises ConfigError."""
        return Renewed(
            lambda: server_context(self.certificate, self.key, authorities=self.authorities, revoked=self.revoked),
            (self.certificate, self.key, self.authorities, self.revoked),
        )

    @model_validator(mode="after")
    def _lists_of_somebody(self) -> DicomWebTls:
        if self.revoked is not None and self.authorities is None:
            raise PydanticCustomError("tls", "`revoked` needs `authorities`: no certificate is asked for without them")
        return self


class Login(Section):
    """A name and its password."""

    user: Annotated[str, Field(min_length=1, max_length=100)]
    """The name."""
    password: SecretValue
    """Its password, from the environment or a file."""
