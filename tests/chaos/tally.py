"""The count at the end: acknowledged = processed = delivered, each exactly once, and nobody condemned for nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from chaos.hospital import Hospital
from chaos.senders import Ledger
from whyray.catalog import Delivery, DeliveryState, Instance, Job, JobState, ResultRow, Series, Study

UNSETTLED_JOBS = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING, JobState.CANCELLING)
UNSETTLED_DELIVERIES = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.WAITING)
BY_DESIGN = {
    "poison": {"DecodeError", "ImageError", "GeometryError", "ModelOutputError"},
    "hung": {"TimeLimit", "WorkerLost"},
    "greedy": {"ResourceExhausted", "ModelOutputError", "WorkerLost", "PackageError"},
}
"""What may become of the studies that are meant to fail: an error that names the cause, never 'internal error'."""


@dataclass
class Tally:
    """What was found. Lists name what is wrong; all of them empty is what is promised."""

    studies: int = 0
    acknowledged: int = 0
    processed: int = 0
    delivered: int = 0
    results: int = 0
    sent_again: int = 0
    """Objects that the archive was sent more than once, by the same UID: harmless."""
    lost: list[str] = field(default_factory=list)
    unprocessed: list[str] = field(default_factory=list)
    undelivered: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    condemned: list[str] = field(default_factory=list)
    meant_to_fail: dict[str, int] = field(default_factory=dict)
    """What became of poison and of studies for bad models."""
    failed_by_the_archives_word: int = 0
    """Deliveries that the archive had refused for good; an administrator's retry sent them."""
    lost_studies: set[str] = field(default_factory=set)
    doubled_studies: set[str] = field(default_factory=set)

    @property
    def faultless(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.unprocessed or self.undelivered or self.doubled or self.condemned)


def settled(hospital: Hospital) -> bool:
    """Whether nothing is on its way any more; False while the catalog can't be asked."""
    try:
        with hospital.serve.catalog.read() as session:
            if session.scalar(select(Job.id).where(Job.state.in_(UNSETTLED_JOBS)).limit(1)):
                return False
            if session.scalar(select(Delivery.id).where(Delivery.state.in_(UNSETTLED_DELIVERIES)).limit(1)):
                return False
            committed_to = Delivery.state.in_([DeliveryState.SENT]) & (Delivery.destination == "orthanc")
            if session.scalar(select(Delivery.id).where(committed_to).limit(1)):
                return False
            return (
                session.scalar(select(Study.id).where(Study.routed_sequence < Study.received_sequence).limit(1)) is None
            )
    except Exception:  # of the database
        return False


def count(hospital: Hospital, ledger: Ledger, *, failed_before: list[tuple[str, str]]) -> Tally:
    """Count everything, in the catalog, in storage, and in the archives themselves.

    Parameters
    ----------
    failed_before
        (destination and SOP Instance UID, error code) of deliveries that had failed before the administrator's retry.
    """
    tally = Tally()
    with hospital.serve.catalog.read() as session:
        rows = session.scalars(select(Instance).options(joinedload(Instance.series).joinedload(Series.study))).all()
        jobs = session.scalars(select(Job).options(joinedload(Job.study))).all()
        results = session.scalars(select(ResultRow).options(joinedload(ResultRow.job).joinedload(Job.study))).all()
        deliveries = session.scalars(select(Delivery).options(joinedload(Delivery.result))).all()
    kept: dict[str, list[Instance]] = {}
    for row in rows:
        kept.setdefault(row.sop_instance_uid, []).append(row)
    of_study: dict[str, list[Job]] = {}
    for job in jobs:
        of_study.setdefault(job.study.study_instance_uid, []).append(job)
    storage = hospital.folder / "whyray" / "storage" / "instances"
    arrived = {(delivery.destination, delivery.result.sop_instance_uid): delivery.state for delivery in deliveries}
    of_job: dict[str, list[ResultRow]] = {}
    for result in results:
        of_job.setdefault(result.job_id, []).append(result)
    _acknowledged(tally, ledger, kept, storage)
    in_pacs = {"archive": set(hospital.archive.kept)}
    if hospital.orthanc is not None:
        in_pacs["orthanc"] = set(hospital.orthanc.instances())
    for sent in ledger.all():
        uid, its_jobs = sent.study.study_instance_uid, of_study.get(sent.study.study_instance_uid, [])
        if not sent.study.healthy:
            _meant_to_fail(tally, sent.study.kind, sent.study.name, bool(sent.acknowledged), its_jobs)
            continue
        current = [job for job in its_jobs if job.state is not JobState.SUPERSEDED]
        for job in current:
            if job.state is not JobState.DONE:
                tally.condemned.append(f"job of {uid}: {job.state.value}, {job.error_code}: {job.error_message}")
        through = max((job.through_instance for job in current if job.state is JobState.DONE), default=0)
        for instance_uid in sent.acknowledged:
            rows_of_it = kept.get(instance_uid, [])
            if rows_of_it and max(row.id for row in rows_of_it) <= through:
                tally.processed += 1
            else:
                tally.unprocessed.append(f"{instance_uid} of {uid}")
        for job in current:
            made = of_job.get(job.id, [])
            if job.state is JobState.DONE and not made:
                tally.undelivered.append(f"job {job.id} of {uid} is done without a result")
            for result in made:
                _arrived(tally, result.sop_instance_uid, uid, in_pacs, arrived)
    _doubled(tally, hospital, ledger, results, of_study)
    tally.results = len(results)
    tally.sent_again = sum(times > 1 for times in hospital.archive.times.values())
    refused = hospital.archive.refused_for_good
    for name, code in failed_before:
        destination, uid = name.split(" ")
        rejected = hospital.archive.rejected_for_good > 0 and code == "PeerRefused"
        if destination == "archive" and (uid in refused or rejected):
            tally.failed_by_the_archives_word += 1
        else:
            tally.condemned.append(f"delivery of {uid} to {destination}: {code}")
    return tally


def _acknowledged(tally: Tally, ledger: Ledger, kept: dict[str, list[Instance]], storage: Path) -> None:
    for sent in ledger.all():
        tally.studies += 1
        tally.acknowledged += len(sent.acknowledged) if sent.study.healthy else 0
        for uid in sent.acknowledged:
            rows = kept.get(uid, [])
            if not rows:
                tally.lost.append(f"{uid}: acknowledged, and not in the catalog")
            elif not all((storage / row.key).is_file() for row in rows):
                tally.lost.append(f"{uid}: acknowledged, and no bytes in storage")
            elif len(rows) > 1:
                tally.doubled.append(f"{uid} is {len(rows)} times in the catalog")
                tally.doubled_studies.add(sent.study.study_instance_uid)
                continue
            else:
                continue
            tally.lost_studies.add(sent.study.study_instance_uid)


def _meant_to_fail(tally: Tally, kind: str, name: str, acknowledged: bool, jobs: list[Job]) -> None:
    if not acknowledged:
        _add(tally, f"{kind}: not taken")
        return
    for job in jobs:
        _add(tally, f"{kind}: {job.state.value} {job.error_code or ''}".strip())
        named = job.state is JobState.FAILED and job.error_code in BY_DESIGN[kind]
        if not named and not (kind == "poison" and job.state is JobState.DONE):
            tally.condemned.append(f"{kind} ({name}): {job.state.value} {job.error_code}: {job.error_message}")
    if not jobs:
        tally.unprocessed.append(f"{kind} ({name}): acknowledged, and no job says what is wrong with it")


def _add(tally: Tally, what: str) -> None:
    tally.meant_to_fail[what] = tally.meant_to_fail.get(what, 0) + 1


def _arrived(
    tally: Tally, uid: str, study: str, in_pacs: dict[str, set[str]], states: dict[tuple[str, str], DeliveryState]
) -> None:
    missing = [name for name, uids in in_pacs.items() if uid not in uids]
    unsent = [name for name in in_pacs if states.get((name, uid)) not in (DeliveryState.SENT, DeliveryState.COMMITTED)]
    if missing or unsent:
        tally.undelivered.append(f"result {uid} of {study}: not in {missing}, not entered as sent to {unsent}")
        tally.lost_studies.add(study)
    else:
        tally.delivered += 1


def _doubled(
    tally: Tally, hospital: Hospital, ledger: Ledger, results: Sequence[ResultRow], of_study: dict[str, list[Job]]
) -> None:
    """Two jobs for one input; two series of reports for one image; objects in the archive that nobody entered."""
    for uid, jobs in of_study.items():
        names = Counter((job.route, job.package, job.input_digest) for job in jobs)
        current = Counter((job.route, job.package) for job in jobs if job.state is not JobState.SUPERSEDED)
        for name, number in (*names.items(), *current.items()):
            if number > 1:
                tally.doubled.append(f"{number} jobs {name} of {uid}")
                tally.doubled_studies.add(uid)
    entered = {result.sop_instance_uid: result for result in results}
    for uid, kept in hospital.archive.kept.items():
        if uid not in entered:
            tally.doubled.append(
                f"{uid} in the archive, of series {kept.series_instance_uid}, is no result in the catalog"
            )
            tally.doubled_studies.add(kept.study_instance_uid)
    images = {sent.study.study_instance_uid: len(sent.acknowledged) for sent in ledger.all()}
    series: dict[tuple[str, str, str], set[str]] = {}
    for result in results:
        name = (result.job.study.study_instance_uid, result.job_id, result.kind)
        series.setdefault(name, set()).add(result.series_instance_uid)
    for (study, job_id, kind), uids in series.items():
        # each image has a report of its own
        if len(uids) > images.get(study, 1):
            tally.doubled.append(f"job {job_id}: {len(uids)} series of kind {kind} for {images.get(study, 1)} images")
            tally.doubled_studies.add(study)
