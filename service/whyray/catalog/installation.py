"""Who this installation is, as the catalog has known it since it was made."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.catalog.tables import Installation


def device_uid(session: Session) -> str:
    """The installation's own UID: Device Observer UID (121012, DCM) of its reports, the same for all its workers."""
    return session.scalars(select(Installation.device_uid)).one()
