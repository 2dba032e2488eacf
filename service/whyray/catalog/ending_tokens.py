"""API tokens that end soon, or ended while they were in use: with them ends a sender's way in, or all alerting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.catalog.account_tables import ApiToken
from whyray.catalog.attention_item import Attention, number_of

_SOON = timedelta(days=14)
_LATELY = timedelta(days=28)
"""Who used a token within this time would use it still."""


def ending_tokens(session: Session, now: datetime) -> Iterator[Attention]:
    """Tokens of which somebody should make a successor."""
    candidates = list(
        session.scalars(
            select(ApiToken)
            .where(ApiToken.revoked_at.is_(None), ApiToken.expires_at > now - _LATELY)
            .order_by(ApiToken.expires_at, ApiToken.id)
        )
    )
    in_force = {token.name for token in candidates if token.expires_at > now}
    for token in candidates:
        if now < token.expires_at <= now + _SOON:
            days = math.ceil((token.expires_at - now) / timedelta(days=1))
            yield Attention(
                severity="warning",
                kind="token.ending",
                title=f"The API token “{token.name}” ends in {number_of(days, 'day')}",
                message=f"{_what_ends(token)} From then on, who comes with it is refused.",
                advice=f"Make one of another name ({_command(token)}), give it to who uses this one, and revoke this.",
            )
        elif token.expires_at <= now and token.name not in in_force and _in_use(token, now):
            yield Attention(
                severity="error",
                kind="token.ended",
                title=f"The API token “{token.name}” has ended",
                message=f"{_what_ends(token)} Who comes with it is refused.",
                advice=f"Make a new one of this name ({_command(token, token.name)}) and give it to who used this one. "
                f"If nobody needs it any more: `whyray account token revoke {token.name}`.",
                since=token.expires_at,
            )


def _in_use(token: ApiToken, now: datetime) -> bool:
    return token.last_used_at is not None and now - token.last_used_at < _LATELY


def _what_ends(token: ApiToken) -> str:
    used = "it was not used yet" if token.last_used_at is None else f"it was last used on {token.last_used_at:%Y-%m-%d}"
    return f"Its scopes are {', '.join(token.scopes)}; {used}."


def _command(token: ApiToken, name: str = "NAME") -> str:
    scopes = " ".join(f"--scope {scope}" for scope in token.scopes)
    return f"`whyray account token add {name} {scopes} --days 365`"
