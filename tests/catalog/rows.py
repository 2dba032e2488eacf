"""Rows for the catalog's tests, from as few words as possible."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from whyray.catalog import Job, ResultRow, Study, jobs, studies
from whyray.catalog.studies import Received

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def received(
    number: int, *, study: int = 1, series: int = 1, content: str = "", copy: int = 0, own_result: bool = False
) -> Received:
    """One object; equal words give an equal UID and digest, `copy` another key in storage."""
    sha256 = hashlib.sha256(f"{study}.{series}.{number}.{content}".encode()).hexdigest()
    return Received(
        study_instance_uid=f"1.2.{study}",
        series_instance_uid=f"1.2.{study}.{series}",
        sop_instance_uid=f"1.2.{study}.{series}.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        sha256=sha256,
        size=100,
        key=f"{sha256[:2]}/{sha256}-{copy}",
        calling_ae="PACS",
        own_result=own_result,
    )


def job(session: Session, *, study: int = 1, instances: int = 1, priority: int = 2, now: datetime = NOON) -> Job:
    """A queued job over a study with that many instances."""
    for number in range(instances):
        studies.add_instance(session, received(number, study=study), now)
    session.flush()
    row = session.query(Study).filter_by(study_instance_uid=f"1.2.{study}").one()
    created = jobs.create(
        session,
        study=row,
        route="route",
        package="package@1",
        instances=studies.routable(session, row.id),
        priority=priority,
        now=now,
    )
    assert created is not None
    return created


def result(name: str, *destinations: str) -> jobs.NewResult:
    """A result that goes to these destinations."""
    return jobs.NewResult(
        sop_instance_uid=f"2.25.{name}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        series_instance_uid="2.25.9",
        kind="sc",
        finding=None,
        method=None,
        description="overlay",
        grade=None,
        key=f"key-{name}",
        picture_key=f"picture-{name}",
        sha256="0" * 64,
        destinations=destinations,
    )


def result_row(session: Session, sop_instance_uid: str, *, study: int = 1) -> ResultRow:
    """A result with this UID, of a new job over this study."""
    row = ResultRow(
        job_id=job(session, study=study).id,
        sop_instance_uid=sop_instance_uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        series_instance_uid="2.25.9",
        kind="sc",
        description="overlay",
        key=f"key-{sop_instance_uid}",
        sha256="0" * 64,
        created_at=NOON,
    )
    session.add(row)
    session.flush()
    return row
