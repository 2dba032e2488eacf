"""The HTTP API: one module for each kind of thing."""

from whyray.admin.api import (
    accounts,
    deliveries,
    drift,
    events,
    feedback,
    health,
    jobs,
    overview,
    reading,
    results,
    site,
    studies,
)

ROUTERS = (
    overview.router,
    studies.router,
    jobs.router,
    deliveries.router,
    results.router,
    events.router,
    site.router,
    feedback.router,
    drift.router,
    reading.router,
    accounts.router,
)

__all__ = ["ROUTERS", "health"]
