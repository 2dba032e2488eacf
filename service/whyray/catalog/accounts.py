"""Local accounts: who logs in with a password, and as what. Passwords come hashed; see `whyray.base.passwords`."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from whyray.base.errors import ConfigError, NotFound
from whyray.base.roles import Role
from whyray.catalog import events
from whyray.catalog.account_tables import Account, EntryLink

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
RESERVED = frozenset({"anonymous", "local", "token", "whyray"})
"""Names under which others than accounts act."""


def is_name(name: str) -> bool:
    """Whether an account can be called so: 1 to 64 letters, digits and `. _ @ + -`, and nobody else's name."""
    return _NAME.fullmatch(name) is not None and name.lower() not in RESERVED


def add(session: Session, name: str, role: Role, password_hash: str, now: datetime, *, actor: str) -> Account:
    """Make an account; whatever link was to make the first administrator ends with it.

    Raises
    ------
    ConfigError
        If it can't be called so, or is there already in whatever case.
    """
    if not is_name(name):
        raise ConfigError(
            f"an account can't be called {name!r}",
            advice="Up to 64 letters, digits and . _ @ + -, and not: " + ", ".join(sorted(RESERVED)) + ".",
        )
    if is_taken(session, name):
        raise ConfigError(f"there is an account {name} already", advice="`whyray account list` shows them.")
    account = Account(
        name=name, role=role, password_hash=password_hash, created_at=now, created_by=actor, password_at=now
    )
    session.add(account)
    for link in session.scalars(select(EntryLink).where(EntryLink.account.is_(None))):
        session.delete(link)
    events.record(session, now, "info", "account.added", f"{name}, {role}", actor=actor)
    return account


def find(session: Session, name: str) -> Account | None:
    """The account of that name, or None."""
    return session.scalar(select(Account).where(Account.name == name))


def is_taken(session: Session, name: str) -> bool:
    """Whether an account is called so, in whatever case."""
    return session.scalar(select(Account.id).where(func.lower(Account.name) == name.lower())) is not None


def every(session: Session) -> list[Account]:
    """All accounts, by name."""
    return list(session.scalars(select(Account).order_by(Account.name)))


def there_is_one(session: Session) -> bool:
    """Whether there is any account."""
    return session.scalar(select(Account.id).limit(1)) is not None


def set_password(session: Session, name: str, password_hash: str, now: datetime, *, actor: str) -> None:
    """Another password; sessions that were opened with the former one end. Raises NotFound."""
    account = _existing(session, name)
    account.password_hash, account.password_at = password_hash, now
    events.record(session, now, "info", "account.password", name, actor=actor)


def set_role(session: Session, name: str, role: Role, now: datetime, *, actor: str) -> None:
    """Another role, in force at the next request. Raises NotFound."""
    account = _existing(session, name)
    was, account.role = account.role, role
    events.record(session, now, "info", "account.role", f"{name}: {was}, now {role}", actor=actor)


def remove(session: Session, name: str, now: datetime, *, actor: str) -> None:
    """Remove it; its sessions end. What it did stays in the events. Raises NotFound."""
    session.delete(_existing(session, name))
    events.record(session, now, "info", "account.removed", name, actor=actor)


def logged_in(session: Session, name: str, now: datetime, *, rehashed: str | None = None) -> None:
    """Note a log-in; `rehashed` is the same password under today's parameters, where they were others."""
    account = _existing(session, name)
    account.last_login_at = now
    if rehashed is not None:
        account.password_hash = rehashed


def _existing(session: Session, name: str) -> Account:
    account = find(session, name)
    if account is None:
        raise NotFound(f"there is no account {name}", advice="`whyray account list` shows them.")
    return account
