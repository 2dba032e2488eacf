"""Who this installation is, and whether it holds anything, as the catalog has known it since it was made."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.catalog.tables import Installation, Instance, ResultRow


def device_uid(session: Session) -> str:
    """The installation's own UID: Device Observer UID (121012, DCM) of its reports, the same for all its workers."""
    return session.scalars(select(Installation.device_uid)).one()


def has_stored(session: Session) -> bool:
    """Whether anything was received or made that should lie in storage."""
    return any(session.scalar(select(table.id).limit(1)) is not None for table in (Instance, ResultRow))
