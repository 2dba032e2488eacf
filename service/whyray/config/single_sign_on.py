"""The section about single sign-on by OpenID Connect."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from whyray.base.roles import Role
from whyray.config.base import Section
from whyray.config.network import is_loopback
from whyray.config.secrets import SecretValue
from whyray.config.services import WebUrl
from whyray.config.values import Duration, FolderPath


def may_be_asked(url: str) -> bool:
    """Whether nobody on the way can read or change what is asked there: by HTTPS, or on this very machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))


def _check_issuer(url: str) -> str:
    if not may_be_asked(url):
        raise PydanticCustomError("oidc", "an issuer is asked by https alone: what it says lets people in")
    return url


Issuer = Annotated[WebUrl, AfterValidator(_check_issuer), WithJsonSchema({"type": "string", "format": "uri"})]


class Oidc(Section):
    """Log-in by OpenID Connect: the authorization code flow with PKCE."""

    issuer: Issuer
    """The provider, as it calls itself; its configuration is read below /.well-known/openid-configuration."""
    client_id: Annotated[str, Field(min_length=1, max_length=200)]
    """Under which WhyRay is registered there."""
    client_secret: SecretValue | None = None
    """Its secret, for client_secret_basic; a public client where left out."""
    url: WebUrl
    """This admin page, as browsers know it; register URL/login/oidc/back as redirect URI, and URL/login as where to go
    after a log-out."""
    roles: Annotated[dict[str, Role], Field(min_length=1)]
    """What the claim says → role. The first of these that somebody has counts; who has none is not let in."""
    role_claim: Annotated[str, Field(min_length=1, max_length=200)] = "groups"
    """The claim, a word or a list of words; with dots for what lies deeper, e.g. realm_access.roles."""
    name_claim: Annotated[str, Field(min_length=1, max_length=200)] = "preferred_username"
    """The claim under which somebody's acts are entered."""
    scopes: tuple[str, ...] = ("openid", "profile")
    """What is asked for; `openid` is needed."""
    session: Duration = timedelta(hours=1)
    """How long a log-in lasts; then the provider is asked again, which knows who is still there."""
    label: Annotated[str, Field(min_length=1, max_length=60)] = "single sign-on"
    """What the log-in page calls it."""
    ca_file: FolderPath | None = None
    """PEM file of the authorities to trust instead of the system's."""

    @model_validator(mode="after")
    def _asks_for_an_id_token(self) -> Oidc:
        if "openid" not in self.scopes:
            raise PydanticCustomError("oidc", "without the scope openid the provider says nothing of who somebody is")
        if timedelta(minutes=1) > self.session or self.session > timedelta(hours=24):
            raise PydanticCustomError("oidc", "a session lasts between a minute and a day")
        return self
