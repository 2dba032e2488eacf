"""Passwords of local accounts: argon2id (RFC 9106), by argon2-cffi."""

from __future__ import annotations

import threading
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from whyray.base.errors import ConfigError

SHORTEST = 12
_LONGEST = 1000

_hasher = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)
"""RFC 9106 section 4, the second recommended option: three passes over 64 MiB."""
_AT_A_TIME = threading.BoundedSemaphore(2)
"""Each takes 64 MiB: guesses that come together must not take the memory of all others."""


def hashed(password: str) -> str:
    """What is kept of a password: argon2id with a salt of its own, in the PHC string format.

    Raises
    ------
    ConfigError
        If it has fewer than 12 or more than 1000 characters.
    """
    if not SHORTEST <= len(password) <= _LONGEST:
        raise ConfigError(
            f"a password has {SHORTEST} to {_LONGEST} characters, this one {len(password)}",
            advice="Take several words that nobody else would put together.",
        )
    with _AT_A_TIME:
        return _hasher.hash(password)


def is_password(password: str, kept: str | None) -> bool:
    """Whether this is the password of which `kept` is the hash; None takes as long, and is nobody's."""
    if len(password) > _LONGEST:
        return False
    try:
        with _AT_A_TIME:
            _hasher.verify(kept if kept is not None else _nobodys(), password)
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def outdated(kept: str) -> bool:
    """Whether it was hashed with other parameters than are used now."""
    return _hasher.check_needs_rehash(kept)


@lru_cache(maxsize=1)
def _nobodys() -> str:
    return _hasher.hash("nobody's password")
