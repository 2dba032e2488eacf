"""The sessions that log-ins open, kept in memory."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from whyray.admin.identity import Identity
from whyray.base.sources import Clock

LASTING = timedelta(hours=12)
"""How long a log-in by the form lasts."""
_MOST_SESSIONS = 1000
Origin = Literal["configuration", "account", "oidc"]
"""Where it is written who may come in."""


@dataclass(frozen=True)
class Session:
    """One log-in."""

    identity: Identity
    origin: Origin
    until: datetime
    secret: bytes
    """Digest of what it was opened with: it ends with that."""
    id_token: str | None = None
    """Of a log-in by OpenID Connect, to log out there too."""

    def opened_with(self, secret: str) -> bool:
        """Whether it was opened with this."""
        return secrets.compare_digest(self.secret, _digest(secret))


class Sessions:
    """Sessions, ended by time, a restart, or a change of what opened them. Of what opens them, digests are kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[bytes, Session] = {}
        self._lock = threading.Lock()

    def start(
        self,
        identity: Identity,
        origin: Origin,
        secret: str,
        *,
        lasting: timedelta = LASTING,
        id_token: str | None = None,
    ) -> str:
        """Open a session for who came in by this password, token or hash; gives the value of its cookie."""
        key = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._open = {digest: session for digest, session in self._open.items() if session.until > now}
            while len(self._open) >= _MOST_SESSIONS:
                del self._open[next(iter(self._open))]
            self._open[_digest(key)] = Session(identity, origin, now + lasting, _digest(secret), id_token)
        return key

    def find(self, key: str) -> Session | None:
        """The session of this cookie, or None if it is not open."""
        with self._lock:
            session = self._open.get(_digest(key))
        return session if session is not None and session.until > self._clock() else None

    def end(self, key: str) -> None:
        """Close a session."""
        with self._lock:
            self._open.pop(_digest(key), None)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
