"""Which storage keys the catalog knows: what the sweep of orphans spares."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from whyray.catalog.evaluation_tables import StudyPicture
from whyray.catalog.tables import Instance, ResultRow, Workitem


def known(session: Session, keys: Collection[str]) -> set[str]:
    """Of these storage keys, those under which an instance, a result, a workitem or a picture of either lies."""
    columns = (
        Instance.key,
        ResultRow.key,
        ResultRow.picture_key,
        ResultRow.preview_key,
        Workitem.key,
        StudyPicture.key,
    )
    known_keys = session.scalars(union_all(*(select(column).where(column.in_(keys)) for column in columns)))
    return {key for key in known_keys if key is not None}
