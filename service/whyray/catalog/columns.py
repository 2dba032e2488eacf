"""What the catalog's tables are made of: their base, and types of columns that are the same on every database."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """Timezone-aware datetimes in UTC on every database; naive ones are refused."""

    impl = DateTime
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """What its values are."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Store as naive UTC, which SQLite and PostgreSQL order alike."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the catalog takes timezone-aware datetimes only")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give back what was stored, in UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


class EnumText(TypeDecorator[Any]):
    """A StrEnum kept as its text, so that a database is readable and a new state needs no migration."""

    impl = String(16)
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Its text. Raises ValueError for what is none of the kind."""
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        """The member of the kind. Raises ValueError where the text is of none."""
        return None if value is None else self.kind(value)


class Base(DeclarativeBase):
    """Metadata that the migrations are compared with."""


UID_BYTEWISE = String(64).with_variant(String(64, collation="C"), "postgresql")
"""UIDs in the order of their bytes on every database: then all that begin alike are one stretch of an index."""
