"""API tokens: what programs come in with. Only their digests are kept; see `whyray.base.api_tokens`."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from whyray.base.api_tokens import digest_of, id_of, new_token
from whyray.base.errors import ConfigError, NotFound
from whyray.base.failures import logged
from whyray.base.roles import SCOPES, Scope
from whyray.catalog import events
from whyray.catalog.account_tables import ApiToken

if TYPE_CHECKING:
    from whyray.catalog.database import Catalog

_log = logging.getLogger(__name__)
_NOTED_EACH = timedelta(days=1)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,15}")


def add(
    session: Session, name: str, scopes: Collection[Scope], expires_at: datetime, now: datetime, *, actor: str
) -> tuple[ApiToken, str]:
    """Make a token; gives its row and its text, which can't be had again.

    Raises
    ------
    ConfigError
        If it can't be called so (the name stands as calling AE of what it sends by STOW-RS), another that is in force
        is called so, or it has no scope or no time to live.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a token can't be called {name!r}", advice="Up to 16 letters, digits and . _ -")
    if any(token.name == name for token in every(session) if in_force(token, now)):
        raise ConfigError(
            f"there is a token {name} already", advice="Revoke it, or take another name: `whyray account token list`."
        )
    if not scopes or expires_at <= now:
        raise ConfigError("a token needs a scope and an end to come", advice=f"Scopes: {', '.join(SCOPES)}.")
    token_id, text = new_token()
    row = ApiToken(
        id=token_id,
        name=name,
        scopes=[scope for scope in SCOPES if scope in scopes],
        digest=digest_of(text),
        created_at=now,
        created_by=actor,
        expires_at=expires_at,
    )
    session.add(row)
    words = f"{name} {token_id}: {', '.join(row.scopes)}, until {expires_at:%Y-%m-%d}"
    events.record(session, now, "info", "account.token-added", words, actor=actor)
    return row, text


def admitted(catalog: Catalog, text: str) -> ApiToken | None:
    """The token whose text this is, if it is in force; None otherwise. That it was used is noted, once a day."""
    now = catalog.clock()
    with catalog.read() as session:
        row = holder(session, text, now)
    if row is not None and (row.last_used_at is None or now - row.last_used_at >= _NOTED_EACH):
        try:
            with catalog.begin() as session:
                session.execute(update(ApiToken).where(ApiToken.id == row.id).values(last_used_at=now))
        except SQLAlchemyError as error:  # a catalog that takes nothing now keeps nobody out
            logged(_log, error, f"the use of the {actor_of(row)} could not be entered")
    return row


def holder(session: Session, text: str, now: datetime) -> ApiToken | None:
    """The token whose text this is, if it is in force; None otherwise."""
    token_id = id_of(text)
    row = None if token_id is None else session.get(ApiToken, token_id)
    if row is None or not secrets.compare_digest(row.digest, digest_of(text)):
        return None
    return row if in_force(row, now) else None


def in_force(token: ApiToken, now: datetime) -> bool:
    """Whether it is neither revoked nor past its end."""
    return token.revoked_at is None and token.expires_at > now


def actor_of(token: ApiToken) -> str:
    """Under which name its acts are entered: 'token NAME ID'."""
    return f"token {token.name} {token.id}"


def every(session: Session) -> list[ApiToken]:
    """All tokens that there ever were, the newest first."""
    return list(session.scalars(select(ApiToken).order_by(ApiToken.created_at.desc(), ApiToken.id)))


def revoke(session: Session, which: str, now: datetime, *, actor: str) -> ApiToken:
    """End a token, by its id or by its name, at once; where none of that name is in force, one whose time is over, of
    which nobody is to be told any more.

    Raises
    ------
    NotFound
        If none is called so, or it was revoked before.
    """
    named = [token for token in every(session) if which in (token.id, token.name) and token.revoked_at is None]
    for token in sorted(named, key=lambda one: not in_force(one, now)):
        token.revoked_at = now
        events.record(session, now, "info", "account.token-revoked", f"{token.name} {token.id}", actor=actor)
        return token
    raise NotFound(f"there is no token {which} that was not revoked", advice="`whyray account token list` shows them.")
