"""Who is asking: access tokens compared in constant time, sessions kept in memory, and a brake on guessing."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from whyray.base.sources import Clock

LASTING = timedelta(hours=12)
"""How long a log-in by the form lasts."""
_MOST_SESSIONS = 1000
_MOST_FAILURES = 10
_FAILURE_WINDOW = timedelta(minutes=1)


def holder_of(token: str, tokens: Mapping[str, str]) -> str | None:
    """The name whose token this is, or None. Takes the same time whether and wherever it is wrong."""
    holder = None
    for name, expected in tokens.items():
        if _same(token, expected):
            holder = name
    return holder


def user_of(name: str, password: str, logins: Mapping[str, str]) -> str | None:
    """The user of this name if the password is theirs, or None. An unknown name takes as long as a known one."""
    right = _same(password, logins.get(name, secrets.token_hex(16)))
    return name if right and name in logins else None


def _same(given: str, expected: str) -> bool:
    # digests first: compare_digest leaks lengths otherwise
    return secrets.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(expected.encode()).digest())


class Sessions:
    """Sessions opened by the log-in form. A restart ends them all; only a digest of each session's key is kept."""

    def __init__(self, clock: Clock, lasting: timedelta = LASTING) -> None:
        self._clock = clock
        self._lasting = lasting
        self._open: dict[bytes, tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def start(self, actor: str) -> str:
        """Open a session; gives the value of its cookie."""
        key = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._open = {digest: session for digest, session in self._open.items() if session[1] > now}
            while len(self._open) >= _MOST_SESSIONS:
                del self._open[next(iter(self._open))]
            self._open[_digest(key)] = (actor, now + self._lasting)
        return key

    def actor(self, key: str) -> str | None:
        """Who opened this session, or None if it is not open."""
        with self._lock:
            session = self._open.get(_digest(key))
        return session[0] if session is not None and session[1] > self._clock() else None

    def end(self, key: str) -> None:
        """Close a session."""
        with self._lock:
            self._open.pop(_digest(key), None)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


class GuessBrake:
    """Refuses an address for a while after too many wrong tokens."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, list[datetime]] = {}
        self._lock = threading.Lock()

    def blocked(self, address: str) -> bool:
        """Whether this address has guessed wrong too often within the last minute."""
        with self._lock:
            return len(self._recent(address)) >= _MOST_FAILURES

    def failed(self, address: str) -> None:
        """Note one wrong token."""
        with self._lock:
            if len(self._failures) > _MOST_SESSIONS:
                self._failures = {failure: self._recent(failure) for failure in self._failures if self._recent(failure)}
            self._failures[address] = [*self._recent(address), self._clock()]

    def _recent(self, address: str) -> list[datetime]:
        since = self._clock() - _FAILURE_WINDOW
        return [failed_at for failed_at in self._failures.get(address, []) if failed_at > since]
