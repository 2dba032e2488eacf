"""The catalog: studies, jobs, results, deliveries, announcements, workitems, events.

What is not in here did not happen.

Use the modules as namespaces, within one transaction::

    with catalog.begin() as session:
        jobs.claim(session, job_id, owner, catalog.clock())
"""

from whyray.catalog import (
    announcements,
    deliveries,
    drift,
    events,
    feedback,
    installation,
    jobs,
    keys,
    processes,
    studies,
    workitems,
)
from whyray.catalog.database import Catalog, sqlite_url
from whyray.catalog.evaluation_tables import (
    DriftSample,
    DriftSeries,
    Feedback,
    ReaderStudy,
    Reading,
    StudyPicture,
    StudyReader,
)
from whyray.catalog.states import (
    DELIVERY_TRANSITIONS,
    JOB_TRANSITIONS,
    WORKITEM_TRANSITIONS,
    DeliveryState,
    JobState,
    WorkitemStage,
    WorkitemState,
)
from whyray.catalog.tables import (
    Announcement,
    Base,
    Delivery,
    Event,
    Installation,
    Instance,
    Job,
    Process,
    ResultRow,
    Series,
    Study,
    Workitem,
)

__all__ = [
    "DELIVERY_TRANSITIONS",
    "JOB_TRANSITIONS",
    "WORKITEM_TRANSITIONS",
    "Announcement",
    "Base",
    "Catalog",
    "Delivery",
    "DeliveryState",
    "DriftSample",
    "DriftSeries",
    "Event",
    "Feedback",
    "Installation",
    "Instance",
    "Job",
    "JobState",
    "Process",
    "ReaderStudy",
    "Reading",
    "ResultRow",
    "Series",
    "Study",
    "StudyPicture",
    "StudyReader",
    "Workitem",
    "WorkitemStage",
    "WorkitemState",
    "announcements",
    "deliveries",
    "drift",
    "events",
    "feedback",
    "installation",
    "jobs",
    "keys",
    "processes",
    "sqlite_url",
    "studies",
    "workitems",
]
