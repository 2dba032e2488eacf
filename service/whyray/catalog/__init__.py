"""The catalog: studies, jobs, results, deliveries, announcements, workitems, events.

What is not in here did not happen.

Use the modules as namespaces, within one transaction::

    with catalog.begin() as session:
        jobs.claim(session, job_id, owner, catalog.clock())
"""

from whyray.catalog import (
    accounts,
    announcements,
    api_tokens,
    audit,
    deliveries,
    drift,
    entry_links,
    events,
    feedback,
    headers,
    installation,
    jobs,
    keys,
    known_series,
    processes,
    removal,
    revisions,
    stuck,
    studies,
    tallies,
    workitems,
)
from whyray.catalog.account_tables import Account, ApiToken, EntryLink
from whyray.catalog.audit import AuditEvent, AuditObject, AuditParticipant, AuditStudy
from whyray.catalog.audit_kinds import AUDIT_KINDS, AUDITED_EVENTS, OWN_SCHEME, AuditCode, AuditKind, Outcome
from whyray.catalog.audit_tables import AuditReceiver, AuditRecord
from whyray.catalog.columns import Base
from whyray.catalog.database import Catalog, is_one_of, sqlite_url
from whyray.catalog.drift import REFERENCE, SeriesKey
from whyray.catalog.evaluation_tables import (
    DriftSample,
    DriftSeries,
    Feedback,
    ReaderStudy,
    Reading,
    StudyPicture,
    StudyReader,
)
from whyray.catalog.event_kinds import EventKind
from whyray.catalog.events import Severity
from whyray.catalog.feedback import REASONS, Reason, Verdict
from whyray.catalog.jobs import NewResult
from whyray.catalog.states import (
    DELIVERY_TRANSITIONS,
    JOB_TRANSITIONS,
    WORKITEM_TRANSITIONS,
    DeliveryState,
    JobState,
    State,
    WorkitemStage,
    WorkitemState,
    delivery_sources,
    job_sources,
    workitem_after,
)
from whyray.catalog.studies import STUDY_STATE, Arrival, Received, StudyState, release
from whyray.catalog.tables import (
    Announcement,
    Delivery,
    Event,
    Installation,
    Instance,
    Job,
    JobDestination,
    Process,
    ResultRow,
    Series,
    Study,
    Workitem,
)

__all__ = [
    "AUDITED_EVENTS",
    "AUDIT_KINDS",
    "DELIVERY_TRANSITIONS",
    "JOB_TRANSITIONS",
    "OWN_SCHEME",
    "REASONS",
    "REFERENCE",
    "STUDY_STATE",
    "WORKITEM_TRANSITIONS",
    "Account",
    "Announcement",
    "ApiToken",
    "Arrival",
    "AuditCode",
    "AuditEvent",
    "AuditKind",
    "AuditObject",
    "AuditParticipant",
    "AuditReceiver",
    "AuditRecord",
    "AuditStudy",
    "Base",
    "Catalog",
    "Delivery",
    "DeliveryState",
    "DriftSample",
    "DriftSeries",
    "EntryLink",
    "Event",
    "EventKind",
    "Feedback",
    "Installation",
    "Instance",
    "Job",
    "JobDestination",
    "JobState",
    "NewResult",
    "Outcome",
    "Process",
    "ReaderStudy",
    "Reading",
    "Reason",
    "Received",
    "ResultRow",
    "Series",
    "SeriesKey",
    "Severity",
    "State",
    "Study",
    "StudyPicture",
    "StudyReader",
    "StudyState",
    "Verdict",
    "Workitem",
    "WorkitemStage",
    "WorkitemState",
    "accounts",
    "announcements",
    "api_tokens",
    "audit",
    "deliveries",
    "delivery_sources",
    "drift",
    "entry_links",
    "events",
    "feedback",
    "headers",
    "installation",
    "is_one_of",
    "job_sources",
    "jobs",
    "keys",
    "known_series",
    "processes",
    "release",
    "removal",
    "revisions",
    "sqlite_url",
    "stuck",
    "studies",
    "tallies",
    "workitem_after",
    "workitems",
]
