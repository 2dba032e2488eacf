"""How many rows there are, counted by the database as they are written: by triggers, so that nothing is counted twice.

Rows are counted by their facets, columns of few values; what has equal facets is a stretch of an index, `ix_…_facets`,
in the order of the lists.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BigInteger, String, Text, exists, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from whyray.catalog.columns import Base

Relation = Literal["jobs", "deliveries", "results", "events", "instances", "studies", "feedback", "workitems"]

_FOLDING = 0x77687974
_FOLD = """
WITH gone AS (DELETE FROM tallies WHERE part > 0 RETURNING relation, facets, number, size)
INSERT INTO tallies (relation, facets, part, number, size)
SELECT relation, facets, 0, sum(number), sum(size) FROM gone GROUP BY relation, facets
ON CONFLICT (relation, facets, part)
DO UPDATE SET number = tallies.number + excluded.number, size = tallies.size + excluded.size
"""


class Tally(Base):
    """A number of rows with equal facets, or a change of it: the numbers of all parts together are the count."""

    __tablename__ = "tallies"
    relation: Mapped[str] = mapped_column(String(16), primary_key=True)
    """The table."""
    facets: Mapped[str] = mapped_column(Text, primary_key=True)
    """JSON array: of jobs [route, package, state], of deliveries [destination, route, state], of results [kind,
    finding, grade, superseded, has a picture], of events [kind, severity, actor], of instances [other content under a
    known UID], of studies [has jobs, has instances that routing has not dealt with], of feedback [package, verdict], of
    workitems [worklist, state]."""
    part: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """0 is the count; above are changes that were not added up yet, on PostgreSQL alone."""
    number: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes, of instances; 0 of all others."""


@dataclass(frozen=True)
class Counted:
    """So many rows with these facets; never none."""

    facets: tuple[Any, ...]
    number: int
    size: int


def counted(session: Session, relation: Relation) -> list[Counted]:
    """How many rows of a table there are, by their facets in the order of `Tally.facets`."""
    rows = session.execute(
        select(Tally.facets, func.sum(Tally.number), func.sum(Tally.size))
        .where(Tally.relation == relation)
        .group_by(Tally.facets)
    )
    return [
        Counted(tuple(json.loads(facets)), int(number), int(size)) for facets, number, size in rows if int(number) != 0
    ]


def has_changes(session: Session) -> bool:
    """Whether there are changes to be added up; on SQLite there are none, ever."""
    if session.get_bind().dialect.name != "postgresql":
        return False
    return bool(session.scalar(select(exists().where(Tally.part > 0))))


def fold(session: Session) -> None:
    """Add the changes up. What another process is adding up is left to it."""
    if not has_changes(session):
        return
    if session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _FOLDING}):
        session.execute(text(_FOLD))
