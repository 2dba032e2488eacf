"""A provider of OpenID Connect: where it is asked what, and what of its answers is believed.

OpenID Connect Core 1.0 section 3.1 (authorization code flow), RFC 7636 (PKCE, S256), Discovery 1.0, RP-Initiated Logout
1.0. Requests are made and ID tokens judged by authlib; bytes go by httpx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ValidationError

from whyray.base.errors import AccessRefused, PeerUnreachable
from whyray.base.sources import Clock
from whyray.base.tls import client_context
from whyray.config import Oidc, may_be_asked

_SIGNED_BY_ITS_KEY = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""What an ID token may be signed with: by a key of the provider alone, never by a shared secret, never by none."""
_PATIENCE = 20.0
_CLOCKS_DIFFER_BY = 60


class Metadata(BaseModel):
    """What a provider says of itself (Discovery 1.0 section 3), as far as it is used here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    id_token_signing_alg_values_supported: list[str] = ["RS256"]
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]


class _Answer(BaseModel):
    id_token: str
    access_token: str


@dataclass(frozen=True)
class VerifiedClaims:
    """What the provider says of somebody: claims that were found true, and the token that carried them."""

    claims: Mapping[str, Any]
    id_token: str


class Provider:
    """One provider, by the configuration. What it says of itself is read once, its keys anew where one is not known."""

    def __init__(self, oidc: Oidc, clock: Clock) -> None:
        self.oidc, self._clock = oidc, clock
        context = client_context(authorities=oidc.ca_file)
        self._http = httpx.Client(timeout=_PATIENCE, verify=context, follow_redirects=False)
        self._metadata: Metadata | None = None
        self._keys: KeySet | None = None

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends browsers back to."""
        return f"{self.oidc.url}/login/oidc/back"

    def metadata(self) -> Metadata:
        """What the provider says of itself.

        Raises
        ------
        PeerUnreachable
            If it does not answer.
        AccessRefused
            If it is another than the configuration names, or is to be asked where others could listen.
        """
        if self._metadata is None:
            body = self._json("GET", f"{self.oidc.issuer}/.well-known/openid-configuration")
            try:
                metadata = Metadata.model_validate(body)
            except ValidationError as error:
                raise _odd("its configuration can't be read") from error
            if metadata.issuer.rstrip("/") != self.oidc.issuer:
                raise _odd("it calls itself by another name than the configuration's issuer")
            asked = (
                metadata.authorization_endpoint,
                metadata.token_endpoint,
                metadata.jwks_uri,
                metadata.userinfo_endpoint,
            )
            if not all(may_be_asked(url) for url in asked if url is not None):
                raise _odd("it names addresses without https")
            self._metadata = metadata
        return self._metadata

    def authorization_url(self, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent to log in. Raises as `metadata` does."""
        return str(
            prepare_grant_uri(
                self.metadata().authorization_endpoint,
                client_id=self.oidc.client_id,
                response_type="code",
                redirect_uri=self.redirect_uri,
                scope=" ".join(self.oidc.scopes),
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    def exchange(self, code: str, nonce: str, verifier: str) -> VerifiedClaims:
        """Give the code for tokens, and believe what stands the tests of Core 1.0 section 3.1.3.7.

        Raises
        ------
        PeerUnreachable
            If the provider does not answer.
        AccessRefused
            If it refuses, or its ID token is not what it has to be: by whom, for whom, until when, signed how.
        """
        metadata, oidc = self.metadata(), self.oidc
        secret = None if oidc.client_secret is None else oidc.client_secret.reveal()
        methods = metadata.token_endpoint_auth_methods_supported
        basic = "client_secret_basic" in methods or "client_secret_post" not in methods
        method = "none" if secret is None else "client_secret_basic" if basic else "client_secret_post"
        body = prepare_token_request(
            "authorization_code", redirect_uri=self.redirect_uri, code=code, code_verifier=verifier
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        url, headers, body = ClientAuth(oidc.client_id, secret, method).prepare(
            "POST", metadata.token_endpoint, headers, body
        )
        try:
            answer = _Answer.model_validate(self._json("POST", url, headers=headers, content=body))
        except ValidationError as error:
            raise _odd("it gave no ID token") from error
        claims = self._judged(answer, nonce)
        return VerifiedClaims(self._with_user_info(claims, answer.access_token), answer.id_token)

    def _judged(self, answer: _Answer, nonce: str) -> dict[str, Any]:
        metadata = self.metadata()
        allowed = [name for name in metadata.id_token_signing_alg_values_supported if name in _SIGNED_BY_ITS_KEY]
        registry = JWSRegistry(algorithms=allowed, strict_check_header=False)
        options = {
            "iss": {"essential": True, "value": metadata.issuer},
            "aud": {"essential": True, "value": self.oidc.client_id},
            "nonce": {"essential": True, "value": nonce},
        }
        params = {"nonce": nonce, "client_id": self.oidc.client_id, "access_token": answer.access_token}
        try:
            try:
                token = jwt.decode(answer.id_token, self._key_set(), registry=registry)
            except InvalidKeyIdError:  # it may have taken a new key since
                token = jwt.decode(answer.id_token, self._key_set(anew=True), registry=registry)
            claims = CodeIDToken(token.claims, token.header, options, params)
            claims.validate(int(self._clock().timestamp()), _CLOCKS_DIFFER_BY)
        except (JoseError, ValueError) as error:
            # the error's own words may quote the token
            raise _odd(f"its ID token is not believed ({type(error).__name__}: {_claim(error)})") from None
        return dict(claims)

    def _with_user_info(self, claims: dict[str, Any], access_token: str) -> dict[str, Any]:
        """With what the provider tells apart from the ID token, where name or role are not in that (section 5.3)."""
        wanted = (self.oidc.name_claim, self.oidc.role_claim)
        url = self.metadata().userinfo_endpoint
        if url is None or all(claim(claims, name) is not None for name in wanted):
            return claims
        told = self._json("GET", url, headers={"Authorization": f"Bearer {access_token}"})
        if not isinstance(told, dict) or told.get("sub") != claims["sub"]:
            raise _odd("it tells of another user than of the one who logged in")
        return told | claims

    def end_url(self, id_token: str) -> str | None:
        """Where a browser logs out at the provider too; None where it has no such place, or does not answer."""
        try:
            where = self.metadata().end_session_endpoint
        except (PeerUnreachable, AccessRefused):
            return None
        if where is None or not may_be_asked(where):
            return None
        after = {"id_token_hint": id_token, "post_logout_redirect_uri": f"{self.oidc.url}/login"}
        return str(add_params_to_uri(where, list(after.items())))

    def _key_set(self, *, anew: bool = False) -> KeySet:
        if self._keys is None or anew:
            self._keys = KeySet.import_key_set(self._json("GET", self.metadata().jwks_uri))
        return self._keys

    def _json(self, method: str, url: str, **options: Any) -> Any:
        try:
            response = self._http.request(method, url, **options)
        except httpx.HTTPError as error:
            raise PeerUnreachable(
                f"the provider of the log-in does not answer: {type(error).__name__}",
                advice="Check admin.oidc.issuer, and that this machine reaches it; accounts can log in meanwhile.",
            ) from None
        if response.status_code >= 500:
            raise PeerUnreachable(f"the provider of the log-in answers {response.status_code}", advice="Try again.")
        if response.status_code != 200:
            raise _odd(f"it answers {response.status_code}")
        try:
            return response.json()
        except ValueError:
            raise _odd("it answers something else than JSON") from None


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """What claims say under a name; with dots for what lies deeper, where none is called so itself. None if nothing."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _claim(error: Exception) -> str:
    named = getattr(error, "claim", None)
    return str(named) if isinstance(named, str) else "signature or form"


def _odd(words: str) -> AccessRefused:
    return AccessRefused(f"the provider's answer lets nobody in: {words}")
