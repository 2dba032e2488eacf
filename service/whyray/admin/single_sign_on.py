"""Log-ins by OpenID Connect, between the browser that leaves for the provider and the one that comes back."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from whyray.admin.entrance import Entrance, stamp_of
from whyray.admin.identity import Identity
from whyray.base.api_tokens import digest_of
from whyray.base.errors import AccessRefused, NotFound
from whyray.base.roles import Role
from whyray.catalog import accounts
from whyray.config import Oidc

if TYPE_CHECKING:
    from whyray.admin.oidc import Provider

_PATH = "/login/oidc"
_WITHIN = timedelta(minutes=10)
_MOST_UNDER_WAY = 1000
_ASK_ANEW = timedelta(hours=1)


@dataclass(frozen=True)
class SignedOn:
    """Who came back, and for how long that counts."""

    identity: Identity
    subject: str
    following: str
    stamp: str
    lasting: timedelta
    id_token: str


@dataclass(frozen=True)
class _UnderWay:
    nonce: str
    verifier: str
    browser: str
    following: str
    stamp: str
    until: datetime


class SignOn:
    """Keeps what a log-in began with: state, nonce and verifier, and a cookie for the browser that began it.

    Each is good once, for ten minutes, and under the configuration that it began with.
    """

    cookie = "whyray_sign_on"
    what = "single sign-on"

    def __init__(self, entrance: Entrance) -> None:
        self._entrance, self._clock = entrance, entrance.catalog.clock
        self._under_way: dict[str, _UnderWay] = {}
        self._provider: tuple[str, datetime, Provider] | None = None
        self._lock = threading.Lock()

    def begin(self, following: str) -> tuple[str, str]:
        """Where the browser goes, and the cookie that it takes along.

        Raises
        ------
        NotFound
            If the configuration has no provider.
        PeerUnreachable, AccessRefused
            If the provider does not answer, or not as it should.
        """
        oidc = self._oidc()
        state, nonce, browser = (secrets.token_urlsafe(32) for _ in range(3))
        verifier = secrets.token_urlsafe(48)
        where = self._asked(oidc).authorization_url(state, nonce, verifier)
        now = self._clock()
        kept = _UnderWay(nonce, verifier, digest_of(browser), following, stamp_of(oidc), now + _WITHIN)
        with self._lock:
            self._under_way = {name: login for name, login in self._under_way.items() if login.until > now}
            while len(self._under_way) >= _MOST_UNDER_WAY:
                del self._under_way[next(iter(self._under_way))]
            self._under_way[state] = kept
        return where, browser

    def complete(self, browser: str, state: str, code: str, error: str, issuer: str) -> SignedOn:
        """Who came back with this state and code; `issuer` is what RFC 9207 adds, empty where the provider does not.

        Raises
        ------
        AccessRefused
            If the log-in did not begin here, in this browser, or too long ago; if the provider says no; if its ID token
            is not believed; or if who it names has no role here.
        NotFound, PeerUnreachable
            As `begin`.
        """
        oidc = self._oidc()
        with self._lock:
            began = self._under_way.pop(state, None)
        if (
            began is None
            or began.until <= self._clock()
            or began.stamp != stamp_of(oidc)
            or not secrets.compare_digest(began.browser, digest_of(browser))
        ):
            raise AccessRefused("the log-in did not begin here, or too long ago", advice="Begin it anew.")
        if error or not code:
            raise AccessRefused("the provider did not log anybody in", advice="Begin it anew.")
        if issuer and issuer != self._asked(oidc).metadata().issuer:
            raise AccessRefused("another provider answered than was asked", advice="Begin it anew.")
        verified = self._asked(oidc).exchange(code, began.nonce, began.verifier)
        identity = self._identity(oidc, verified.claims)
        return SignedOn(
            identity, _shown(verified.claims["sub"]), began.following, began.stamp, oidc.session, verified.id_token
        )

    def end_of(self, id_token: str | None) -> str | None:
        """Where the browser logs out at the provider too; None where it need not, or can't."""
        oidc = self._entrance.settings().oidc
        return None if id_token is None or oidc is None else self._asked(oidc).end_url(id_token)

    def remember(self, response: Response, browser: str, *, secure: bool) -> None:
        """Give the browser its cookie."""
        within = int(_WITHIN.total_seconds())
        response.set_cookie(
            self.cookie, browser, max_age=within, path=_PATH, httponly=True, samesite="lax", secure=secure
        )

    def forget(self, response: Response) -> None:
        """Take it back."""
        response.delete_cookie(self.cookie, path=_PATH, httponly=True, samesite="lax")

    def _oidc(self) -> Oidc:
        oidc = self._entrance.settings().oidc
        if oidc is None:
            raise NotFound("there is no single sign-on here", advice="The section admin.oidc sets one up.")
        return oidc

    def _asked(self, oidc: Oidc) -> Provider:
        from whyray.admin.oidc import Provider

        of, now = oidc.model_dump_json(), self._clock()
        if self._provider is None or self._provider[0] != of or self._provider[1] <= now:
            self._provider = (of, now + _ASK_ANEW, Provider(oidc, self._clock))
        return self._provider[2]

    def _identity(self, oidc: Oidc, claims: Any) -> Identity:
        from whyray.admin.oidc import claim

        name = claim(claims, oidc.name_claim)
        if not isinstance(name, str) or not accounts.is_name(name):
            raise AccessRefused(f"the claim {oidc.name_claim} is no name that can be entered")
        if self._entrance.is_taken(name):
            raise AccessRefused(f"{name} is the name of a local account", advice="Log in with its password.")
        role = _role(oidc, claim(claims, oidc.role_claim))
        if role is None:
            raise AccessRefused(f"{name} has none of the roles that are let in", advice="Ask an administrator for one.")
        return Identity.of_role(name, role)


def _role(oidc: Oidc, claimed: Any) -> Role | None:
    words = [claimed] if isinstance(claimed, str) else claimed if isinstance(claimed, list) else []
    return next((role for word, role in oidc.roles.items() if word in words), None)


def _shown(subject: Any) -> str:
    text = str(subject)[:255]
    return text if text.isascii() and text.isprintable() else "of odd characters"
