"""The catalog: studies, jobs, results, deliveries, events. What is not in here did not happen.

Use the modules as namespaces, within one transaction::

    with catalog.begin() as session:
        jobs.claim(session, job_id, owner, catalog.clock())
"""

from whyray.catalog import deliveries, events, jobs, keys, processes, studies
from whyray.catalog.database import Catalog, Clock, sqlite_url, system_clock
from whyray.catalog.states import DELIVERY_TRANSITIONS, JOB_TRANSITIONS, DeliveryState, JobState
from whyray.catalog.tables import Base, Delivery, Event, Instance, Job, Process, ResultRow, Series, Study

__all__ = [
    "DELIVERY_TRANSITIONS",
    "JOB_TRANSITIONS",
    "Base",
    "Catalog",
    "Clock",
    "Delivery",
    "DeliveryState",
    "Event",
    "Instance",
    "Job",
    "JobState",
    "Process",
    "ResultRow",
    "Series",
    "Study",
    "deliveries",
    "events",
    "jobs",
    "keys",
    "processes",
    "sqlite_url",
    "studies",
    "system_clock",
]
