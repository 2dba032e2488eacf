"""Who is asking by a password, and the sessions that log-ins open, kept in memory."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from whyray.base.given_secrets import same_secret
from whyray.base.sources import Clock

LASTING = timedelta(hours=12)
"""How long a log-in by the form lasts."""
_MOST_SESSIONS = 1000


def user_of(name: str, password: str, logins: Mapping[str, str]) -> str | None:
    """The user of this name if the password is theirs, or None. An unknown name takes as long as a known one."""
    right = same_secret(password, logins.get(name, secrets.token_hex(16)))
    return name if right and name in logins else None


@dataclass(frozen=True)
class _Session:
    actor: str
    secret: bytes
    until: datetime


class Sessions:
    """Sessions opened by the log-in form: ended by time, a restart, or a change of the secret that opened them.

    Only digests of keys and secrets are kept.
    """

    def __init__(self, clock: Clock, lasting: timedelta = LASTING) -> None:
        self._clock = clock
        self._lasting = lasting
        self._open: dict[bytes, _Session] = {}
        self._lock = threading.Lock()

    def start(self, actor: str, secret: str) -> str:
        """Open a session for who gave this password or token; gives the value of its cookie."""
        key = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._open = {digest: session for digest, session in self._open.items() if session.until > now}
            while len(self._open) >= _MOST_SESSIONS:
                del self._open[next(iter(self._open))]
            self._open[_digest(key)] = _Session(actor, _digest(secret), now + self._lasting)
        return key

    def actor(self, key: str, secrets_of: Callable[[str], Sequence[str]]) -> str | None:
        """Who opened this session, or None if it is not open.

        `secrets_of` gives the password and token that a name has now: a session outlives neither.
        """
        with self._lock:
            session = self._open.get(_digest(key))
        if session is None or session.until <= self._clock():
            return None
        kept = any(secrets.compare_digest(session.secret, _digest(secret)) for secret in secrets_of(session.actor))
        return session.actor if kept else None

    def end(self, key: str) -> None:
        """Close a session."""
        with self._lock:
            self._open.pop(_digest(key), None)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
