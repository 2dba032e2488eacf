"""Passwords and tokens that somebody gives, compared with those that are right in a time that tells nothing of them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping


def same_secret(given: str, expected: str) -> bool:
    """Whether they are equal; takes the same time wherever they differ."""
    # digests first: compare_digest leaks lengths otherwise
    return secrets.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(expected.encode()).digest())


def holder_of(token: str, tokens: Mapping[str, str]) -> str | None:
    """The name whose token this is, or None. Takes the same time whether and wherever it is wrong."""
    holder = None
    for name, expected in tokens.items():
        if same_secret(token, expected):
            holder = name
    return holder
