"""Links that let in without an account: to make the first administrator, once; and into the demo."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from whyray.base.api_tokens import digest_of
from whyray.catalog.account_tables import Account, EntryLink

LASTING = timedelta(hours=24)


def first_administrator(session: Session, now: datetime) -> str | None:
    """The code of a new link to make the first administrator; None where there is an account. Former ones end."""
    if session.scalar(select(Account.id).limit(1)) is not None:
        return None
    session.execute(delete(EntryLink).where(EntryLink.account.is_(None)))
    return _new(session, None, now)


def for_account(session: Session, account: str, now: datetime) -> str:
    """The code of a new link that logs into this account, as often as it is followed until its end."""
    return _new(session, account, now)


def find(session: Session, code: str, now: datetime) -> EntryLink | None:
    """The link of this code, if it is good."""
    link = session.get(EntryLink, digest_of(code))
    return link if link is not None and link.expires_at > now else None


def _new(session: Session, account: str | None, now: datetime) -> str:
    code = secrets.token_urlsafe(32)
    session.add(EntryLink(digest=digest_of(code), account=account, expires_at=now + LASTING))
    return code
