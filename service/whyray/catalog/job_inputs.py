"""The instances that a job takes: those of its series that were there when it was created, and no others."""

from __future__ import annotations

from sqlalchemy.orm import Session

from whyray.base.errors import InputChanged
from whyray.catalog import studies
from whyray.catalog.tables import Instance, Job


def instances(session: Session, job: Job) -> dict[str, list[Instance]]:
    """The instances that the job takes, by Series Instance UID, as they were when it was created.

    Raises
    ------
    InputChanged
        If some of them are gone.
    """
    taken = {
        uid: [instance for instance in group if instance.id <= job.through_instance]
        for uid, group in studies.routable(session, job.study_id).items()
        if uid in job.series_uids
    }
    if studies.input_digest(instance for group in taken.values() for instance in group) != job.input_digest:
        raise InputChanged(f"job {job.id}: instances that it was created for are no longer in the catalog")
    return taken


def segmentations(session: Session, job: Job) -> list[Instance]:
    """Segmentations of the job's study that somebody else sent before the job was created, in the order they came."""
    return [
        instance
        for group in studies.routable(session, job.study_id).values()
        for instance in group
        if is_segmentation_for(job, instance)
    ]


def is_segmentation_for(job: Job, instance: Instance) -> bool:
    """Whether an instance of the job's study, while it is in use, is one of its `segmentations`, of whatever series."""
    # not with this module: commands that only read the catalog need no pydicom
    from pydicom.uid import SegmentationStorage

    from whyray.base.sop_classes import LABEL_MAP_SEGMENTATION_STORAGE

    is_segmentation = instance.sop_class_uid in (SegmentationStorage, LABEL_MAP_SEGMENTATION_STORAGE)
    return is_segmentation and instance.received_at <= job.created_at
