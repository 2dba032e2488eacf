"""API tokens: `whyray_ID_SECRET`. The ID is no secret and finds the row; of the whole only a digest is kept.

A secret of 256 random bits can't be guessed or tried out, so that one round of SHA-256 keeps it as well as any slow
hash would; a slow one, at each request, would let strangers keep the processors busy.
"""

from __future__ import annotations

import hashlib
import re
import secrets

_FORM = re.compile(r"whyray_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")


def new_token() -> tuple[str, str]:
    """A new token: its ID and the whole text, which is shown once."""
    token_id = secrets.token_hex(4)
    return token_id, f"whyray_{token_id}_{secrets.token_urlsafe(32)}"


def id_of(token: str) -> str | None:
    """The ID in a text that has the form of a token; None for any other text."""
    match = _FORM.fullmatch(token)
    return None if match is None else match[1]


def digest_of(secret: str) -> str:
    """SHA-256 of a random secret, as 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()
