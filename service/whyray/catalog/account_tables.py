"""Tables of who may come in: accounts, API tokens, and links that are good until they are used."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from whyray.catalog.columns import Base, UtcDateTime


class Account(Base):
    """A person who logs in with a password; of that only a hash (argon2id) is kept."""

    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(64))
    password_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When the password was set."""
    last_login_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ApiToken(Base):
    """A program that comes in with a token; of that only a digest is kept. Rows stay after their end, for the audit."""

    __tablename__ = "api_tokens"
    id: Mapped[str] = mapped_column(String(8), primary_key=True)
    """The part of the token that is no secret."""
    name: Mapped[str] = mapped_column(String(16))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it last let somebody in, to a day; None where it never did since this is noted."""


class EntryLink(Base):
    """A link that lets in: the first administrator, once; or, in the demo, whoever has it."""

    __tablename__ = "entry_links"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str | None] = mapped_column(String(64))
    """Whom it logs in; without one it makes the first administrator, and ends with that."""
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
